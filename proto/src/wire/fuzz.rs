//! Fuzz tests of the hand-written messages.

use std::fmt::Debug;

use prost::encoding::encode_varint;

use super::*;
use crate::pb::{imports, internal, records};
use concord_testing::fuzz::Fuzz;

/// Asserts that a decoded message round-trips, has the encoded length that it reports, and
/// is not much larger than the input.
fn round_trip<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let encoded = message.encode_to_vec();
    assert_eq!(encoded.len(), message.encoded_len());
    // A packed number of one byte may become a number with its own key, and a negative
    // `int32` takes ten bytes.
    assert!(encoded.len() <= 12 * bytes.len(), "{} of {}", encoded.len(), bytes.len());
    assert_eq!(M::decode(encoded.as_slice()).as_ref(), Ok(&message));
    Some(message)
}

#[test]
fn decoded_frame_is_bounded_by_its_input() {
    Fuzz::corpus("frame").check(|bytes| {
        let Some(frame) = round_trip::<BatchFrame>(bytes) else { return };
        let kept: usize = frame.records.iter().map(Bytes::len).sum();
        // Each record has a key and a length.
        assert!(kept + 2 * frame.records.len() <= bytes.len());
        assert!(frame.records.capacity() <= bytes.len().max(4));
    });
}

#[test]
fn hand_written_messages_round_trip() {
    Fuzz::corpus("message").check(|bytes| {
        round_trip::<ApplyRecord>(bytes);
        round_trip::<Event>(bytes);
        round_trip::<SnapshotRecord>(bytes);
        round_trip::<imports::UploadBatchRequest>(bytes);
        round_trip::<internal::ApplyChunkRequest>(bytes);
        round_trip::<records::SubscribeResponse>(bytes);
        round_trip::<records::CreateClientRequest>(bytes);
    });
}

/// A subscriber with generated messages and a service that forwards images must agree on
/// the bytes of an image.
#[test]
fn image_is_forwarded_byte_for_byte() {
    Fuzz::corpus("message").check(|bytes| {
        let event = Event { client: Some(bytes.to_vec().into()), ..Event::default() };
        let read = Event::decode(event.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.client.as_deref(), Some(bytes));
    });
}

/// The tags of a record give the kind that a full decoding finds.
#[test]
fn kind_by_tags_is_kind_of_decoded_record() {
    use imports::{ImportRecordKind, import_record::Record};
    Fuzz::corpus("message").check(|bytes| {
        let Ok(record) = imports::ImportRecord::decode(bytes) else { return };
        let kind = match record.record {
            Some(Record::Client(_)) => ImportRecordKind::Client,
            Some(Record::Contact(_)) => ImportRecordKind::Contact,
            Some(Record::Address(_)) => ImportRecordKind::Address,
            None => ImportRecordKind::Unspecified,
        };
        assert_eq!(import_record_kind(bytes), kind);
    });
    for (bytes, kind) in [
        (&[0x0a, 0][..], ImportRecordKind::Client),
        (&[0x0a, 0, 0x12, 0], ImportRecordKind::Contact),
        // A client whose field cannot be decoded.
        (&[0x0a, 2, 0x0a, 0xff], ImportRecordKind::Client),
        (&[0x0a, 0xff], ImportRecordKind::Unspecified),
        (&[0x08, 1], ImportRecordKind::Unspecified),
    ] {
        assert_eq!(import_record_kind(bytes), kind, "{bytes:?}");
    }
}

/// A length prefix beyond the end of the input is rejected before memory is allocated for
/// it.
#[test]
fn length_beyond_the_input_is_rejected() {
    for length in [3, 0xffff, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
        let mut message = vec![0x0a];
        encode_varint(length, &mut message);
        message.extend([1, 2]);
        assert!(BatchFrame::decode(message.as_slice()).is_err(), "{length}");
        assert!(imports::ImportRecord::decode(message.as_slice()).is_err(), "{length}");
        assert!(ApplyRecord::decode(message.as_slice()).is_err(), "{length}");
        let mut frame = BatchFrame::default();
        assert!(frame.merge(message.as_slice()).is_err());
        assert!(frame.records.capacity() <= 4, "{length}");
    }
}
