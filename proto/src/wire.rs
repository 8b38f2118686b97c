//! Hand-written protobuf messages that are not decoded in full.
//!
//! A message field and a `bytes` field have the same encoding. A record of an upload is
//! stored as the received bytes, and only a record that cannot be decoded fails. An event
//! contains the stored image of a record without decoding and encoding it again.
//! `build.rs` uses these structs instead of generated ones.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType},
};
use prost_types::Timestamp;

use crate::{
    limits,
    pb::{imports::ImportRecordKind, records::Origin},
};

/// Maximum number of records that a decoded frame keeps: one more than a batch may have, so
/// that the batch is rejected. An empty record takes two bytes in a message and sixteen
/// times as many in memory.
pub const MAX_FRAME_RECORDS: usize = limits::MAX_BATCH_RECORDS + 1;

/// `concord.imports.v1.BatchFrame` with encoded records. The decoder drops records beyond
/// [`MAX_FRAME_RECORDS`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchFrame {
    /// Encoded [`ImportRecord`](crate::pb::imports::ImportRecord)s.
    pub records: Vec<Bytes>,
}

impl BatchFrame {
    const RECORDS: u32 = 1;
}

impl Message for BatchFrame {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        encoding::bytes::encode_repeated(Self::RECORDS, &self.records, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag == Self::RECORDS && self.records.len() < MAX_FRAME_RECORDS {
            encoding::bytes::merge_repeated(wire_type, &mut self.records, buffer, context)
        } else {
            encoding::skip_field(wire_type, tag, buffer, context)
        }
    }

    fn encoded_len(&self) -> usize {
        encoding::bytes::encoded_len_repeated(Self::RECORDS, &self.records)
    }

    fn clear(&mut self) {
        self.records.clear();
    }
}

/// The kind of an encoded [`ImportRecord`](crate::pb::imports::ImportRecord), from its tags
/// alone: the fields of the record are not decoded. Unspecified if it has no kind, or if its
/// tags cannot be read.
pub fn import_record_kind(mut record: &[u8]) -> ImportRecordKind {
    let mut kind = ImportRecordKind::Unspecified;
    while record.has_remaining() {
        let Ok((tag, wire_type)) = encoding::decode_key(&mut record) else {
            return ImportRecordKind::Unspecified;
        };
        match (tag, wire_type) {
            // The last one counts, as in a full decoding.
            (1, WireType::LengthDelimited) => kind = ImportRecordKind::Client,
            (2, WireType::LengthDelimited) => kind = ImportRecordKind::Contact,
            (3, WireType::LengthDelimited) => kind = ImportRecordKind::Address,
            (1..=3, _) => return ImportRecordKind::Unspecified,
            _ => {}
        }
        if encoding::skip_field(wire_type, tag, &mut record, DecodeContext::default()).is_err() {
            return ImportRecordKind::Unspecified;
        }
    }
    kind
}

/// `concord.internal.v1.ApplyRecord` with an encoded record.
#[derive(Clone, PartialEq, Message)]
pub struct ApplyRecord {
    /// An encoded [`ImportRecord`](crate::pb::imports::ImportRecord).
    #[prost(bytes = "bytes", tag = "1")]
    pub record: Bytes,
    /// The parents: the clients of a contact, the owner of an address.
    #[prost(message, repeated, tag = "2")]
    pub parents: Vec<crate::pb::internal::ApplyParent>,
    /// The first day of an address, derived from the whole timeline.
    #[prost(string, tag = "3")]
    pub active_from: String,
    /// The first day after the period of an address.
    #[prost(string, tag = "4")]
    pub active_to: String,
}

/// `concord.records.v1.Event` with encoded images. See the proto for the fields.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// The position in the feed of the product.
    #[prost(int64, tag = "1")]
    pub position: i64,
    /// The position of the previous event of this stream.
    #[prost(int64, tag = "2")]
    pub previous_position: i64,
    /// The id of the change.
    #[prost(string, tag = "3")]
    pub change_id: String,
    /// The practice.
    #[prost(string, tag = "4")]
    pub practice_id: String,
    /// The kind of the record.
    #[prost(enumeration = "crate::pb::records::RecordKind", tag = "5")]
    pub record_kind: i32,
    /// The id of the record.
    #[prost(string, tag = "6")]
    pub record_id: String,
    /// The version of the record after this change.
    #[prost(int64, tag = "7")]
    pub record_version: i64,
    /// The kind of the change.
    #[prost(enumeration = "crate::pb::records::ChangeKind", tag = "8")]
    pub kind: i32,
    /// The paths of the changed fields.
    #[prost(string, repeated, tag = "9")]
    pub changed_fields: Vec<String>,
    /// The added entry, if any.
    #[prost(string, tag = "10")]
    pub entry_id: String,
    /// The author of the change.
    #[prost(message, optional, tag = "11")]
    pub origin: Option<Origin>,
    /// True if the subscribing product was linked to the record.
    #[prost(bool, tag = "12")]
    pub linked: bool,
    /// True if the subscriber made the change.
    #[prost(bool, tag = "13")]
    pub own: bool,
    /// The transaction.
    #[prost(string, tag = "14")]
    pub transaction_id: String,
    /// The index of the change in its transaction.
    #[prost(int32, tag = "15")]
    pub transaction_index: i32,
    /// The number of changes of the transaction.
    #[prost(int32, tag = "16")]
    pub transaction_count: i32,
    /// The time of the change.
    #[prost(message, optional, tag = "17")]
    pub change_time: Option<Timestamp>,
    /// An encoded [`Client`](crate::pb::records::Client).
    #[prost(bytes = "bytes", optional, tag = "18")]
    pub client: Option<Bytes>,
    /// An encoded [`Person`](crate::pb::records::Person).
    #[prost(bytes = "bytes", optional, tag = "19")]
    pub person: Option<Bytes>,
    /// Encoded [`Contact`](crate::pb::records::Contact)s.
    #[prost(bytes = "bytes", repeated, tag = "20")]
    pub contacts: Vec<Bytes>,
}

/// `concord.records.v1.SnapshotRecord` with encoded images. See the proto for the fields.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotRecord {
    /// The practice.
    #[prost(string, tag = "1")]
    pub practice_id: String,
    /// The kind of the record.
    #[prost(enumeration = "crate::pb::records::RecordKind", tag = "2")]
    pub record_kind: i32,
    /// The id of the record.
    #[prost(string, tag = "3")]
    pub record_id: String,
    /// The version of the record.
    #[prost(int64, tag = "4")]
    pub record_version: i64,
    /// True if the subscribing product is linked to the record.
    #[prost(bool, tag = "5")]
    pub linked: bool,
    /// An encoded [`Client`](crate::pb::records::Client).
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub client: Option<Bytes>,
    /// An encoded [`Person`](crate::pb::records::Person).
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub person: Option<Bytes>,
    /// An encoded [`Contact`](crate::pb::records::Contact).
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub contact: Option<Bytes>,
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{imports, records};

    #[test]
    fn event_image_round_trips_as_bytes() {
        let client = records::Client { id: "cli_1".into(), version: 7, ..Default::default() };
        let event = Event { client: Some(client.encode_to_vec().into()), ..Event::default() };
        let read = Event::decode(event.encode_to_vec().as_slice()).unwrap();
        let image = read.client.unwrap();
        assert_eq!(records::Client::decode(image).unwrap(), client);
    }

    #[test]
    fn frame_decoder_drops_records_beyond_the_limit() {
        let frame = BatchFrame { records: vec![Bytes::new(); 2 * MAX_FRAME_RECORDS] };
        let encoded = frame.encode_to_vec();
        assert_eq!(encoded.len(), frame.encoded_len());
        let read = BatchFrame::decode(encoded.as_slice()).unwrap();
        assert_eq!(read.records.len(), MAX_FRAME_RECORDS);
        // Unknown fields of a later version are skipped.
        let more = [&[0x12, 0x01, 0xff, 0x18, 0x07][..], &[0x0a, 0x01, 0x2a]].concat();
        assert_eq!(
            BatchFrame::decode(more.as_slice()).unwrap().records,
            [Bytes::from_static(b"*")]
        );
    }

    #[test]
    fn frame_carries_an_undecodable_record() {
        let good = imports::ImportRecord { record: None, ..Default::default() }.encode_to_vec();
        let bad = vec![0x0a, 0xff];
        let frame = BatchFrame { records: vec![good.into(), bad.clone().into()] };
        let read = BatchFrame::decode(frame.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.records[1], bad);
        assert!(imports::ImportRecord::decode(read.records[1].clone()).is_err());
    }
}
