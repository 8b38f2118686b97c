//! Messages that the services handle without decoding all of their parts.
//!
//! A message field and a `bytes` field have the same form on the wire. So a
//! record of an upload can be kept as the bytes that arrived, and one that
//! cannot be decoded fails alone; and the stored image of a record can be sent
//! in an event without being decoded and encoded again. `build.rs` puts these
//! structs in the place of the generated ones.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType},
};
use prost_types::Timestamp;

use crate::pb::records::Origin;

/// Records of a frame that are kept when it is decoded: more than a batch may
/// have, so that it is refused. An empty record takes two bytes of a message and
/// sixteen times as much in memory.
pub const MAX_FRAME_RECORDS: usize = 50_001;

/// `concord.imports.v1.BatchFrame` with its records still encoded; those beyond
/// [`MAX_FRAME_RECORDS`] are dropped as they are decoded.
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

/// `concord.internal.v1.ApplyRecord` with its record still encoded.
#[derive(Clone, PartialEq, Message)]
pub struct ApplyRecord {
    /// An encoded [`ImportRecord`](crate::pb::imports::ImportRecord).
    #[prost(bytes = "bytes", tag = "1")]
    pub record: Bytes,
    /// The parents: of a contact its clients, of an address its owner.
    #[prost(message, repeated, tag = "2")]
    pub parents: Vec<crate::pb::internal::ApplyParent>,
    /// Of an address: the first day, as the whole timeline gives it.
    #[prost(string, tag = "3")]
    pub active_from: String,
    /// Of an address: the first day that it held no longer.
    #[prost(string, tag = "4")]
    pub active_to: String,
}

/// `concord.records.v1.Event` with its images still encoded. See the proto for
/// the meaning of the fields.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// The position in the product's feed.
    #[prost(int64, tag = "1")]
    pub position: i64,
    /// The position of the event that this stream sent before.
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
    /// The version that this change gave the record.
    #[prost(int64, tag = "7")]
    pub record_version: i64,
    /// What happened.
    #[prost(enumeration = "crate::pb::records::ChangeKind", tag = "8")]
    pub kind: i32,
    /// The paths of the fields that changed.
    #[prost(string, repeated, tag = "9")]
    pub changed_fields: Vec<String>,
    /// The entry, when one was added.
    #[prost(string, tag = "10")]
    pub entry_id: String,
    /// Who made it.
    #[prost(message, optional, tag = "11")]
    pub origin: Option<Origin>,
    /// Whether the hearing product was linked to the record.
    #[prost(bool, tag = "12")]
    pub linked: bool,
    /// Whether the change is the hearer's own.
    #[prost(bool, tag = "13")]
    pub own: bool,
    /// The transaction.
    #[prost(string, tag = "14")]
    pub transaction_id: String,
    /// The place of the change in its transaction.
    #[prost(int32, tag = "15")]
    pub transaction_index: i32,
    /// How many changes the transaction made.
    #[prost(int32, tag = "16")]
    pub transaction_count: i32,
    /// When it was written.
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

/// `concord.records.v1.SnapshotRecord` with its images still encoded. See the
/// proto for the meaning of the fields.
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
    /// Its version.
    #[prost(int64, tag = "4")]
    pub record_version: i64,
    /// Whether the hearing product is linked to it.
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
    fn an_event_keeps_the_bytes_of_its_image() {
        let client = records::Client { id: "cli_1".into(), version: 7, ..Default::default() };
        let event = Event { client: Some(client.encode_to_vec().into()), ..Event::default() };
        let read = Event::decode(event.encode_to_vec().as_slice()).unwrap();
        let image = read.client.unwrap();
        assert_eq!(records::Client::decode(image).unwrap(), client);
    }

    #[test]
    fn a_frame_keeps_no_more_records_than_are_needed_to_refuse_it() {
        let frame = BatchFrame { records: vec![Bytes::new(); 2 * MAX_FRAME_RECORDS] };
        let encoded = frame.encode_to_vec();
        assert_eq!(encoded.len(), frame.encoded_len());
        let read = BatchFrame::decode(encoded.as_slice()).unwrap();
        assert_eq!(read.records.len(), MAX_FRAME_RECORDS);
        // A later version may have more fields.
        let more = [&[0x12, 0x01, 0xff, 0x18, 0x07][..], &[0x0a, 0x01, 0x2a]].concat();
        assert_eq!(
            BatchFrame::decode(more.as_slice()).unwrap().records,
            [Bytes::from_static(b"*")]
        );
    }

    #[test]
    fn a_frame_carries_a_record_that_does_not_decode() {
        let good = imports::ImportRecord { record: None, ..Default::default() }.encode_to_vec();
        let bad = vec![0x0a, 0xff];
        let frame = BatchFrame { records: vec![good.into(), bad.clone().into()] };
        let read = BatchFrame::decode(frame.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.records[1], bad);
        assert!(imports::ImportRecord::decode(read.records[1].clone()).is_err());
    }
}
