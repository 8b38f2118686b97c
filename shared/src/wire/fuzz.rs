//! Messages that no client of ours encodes.

use std::fmt::Debug;

use prost::encoding::encode_varint;

use super::*;
use crate::{
    pb::{imports, internal, records},
    testing::fuzz::Fuzz,
};

/// What decodes is encoded to something that decodes the same, in as many bytes as
/// it says; and it is not much larger than what came.
fn reads_back<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let encoded = message.encode_to_vec();
    assert_eq!(encoded.len(), message.encoded_len());
    // A packed number of one byte may be written with its key again, and a negative
    // one of an `int32` in ten bytes.
    assert!(encoded.len() <= 12 * bytes.len(), "{} of {}", encoded.len(), bytes.len());
    assert_eq!(M::decode(encoded.as_slice()).as_ref(), Ok(&message));
    Some(message)
}

/// As the batches of an import are read: each record by itself.
#[test]
fn a_frame_keeps_what_came_and_no_more() {
    Fuzz::of("frame").hold(|bytes| {
        let Some(frame) = reads_back::<BatchFrame>(bytes) else { return };
        let kept: usize = frame.records.iter().map(Bytes::len).sum();
        // A key and a length go before each record.
        assert!(kept + 2 * frame.records.len() <= bytes.len());
        assert!(frame.records.capacity() <= bytes.len().max(4));
    });
}

#[test]
fn every_message_that_is_read_by_hand_reads_back() {
    Fuzz::of("message").hold(|bytes| {
        reads_back::<ApplyRecord>(bytes);
        reads_back::<Event>(bytes);
        reads_back::<SnapshotRecord>(bytes);
        reads_back::<imports::UploadBatchRequest>(bytes);
        reads_back::<internal::ApplyChunkRequest>(bytes);
        reads_back::<records::SubscribeResponse>(bytes);
        reads_back::<records::CreateClientRequest>(bytes);
    });
}

/// A subscriber that decodes its events with the generated messages and a service
/// that passes images on must agree about which bytes are one.
#[test]
fn an_image_is_the_bytes_that_came() {
    Fuzz::of("message").hold(|bytes| {
        let event = Event { client: Some(bytes.to_vec().into()), ..Event::default() };
        let read = Event::decode(event.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.client.as_deref(), Some(bytes));
    });
}

/// A length that is larger than what follows is refused as soon as it is read, and
/// nothing is made ready for what it promises.
#[test]
fn a_length_that_lies_is_refused() {
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
