use concord_proto::pb::imports::{ImportClient, ImportRecord, import_record};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn client(source_id: &str) -> Bytes {
    let client = ImportClient { source_id: source_id.to_owned(), ..ImportClient::default() };
    let record = Some(import_record::Record::Client(client));
    ImportRecord { record, ..Default::default() }.encode_to_vec().into()
}

fn receive(declared: Declared, frames: Vec<Vec<Bytes>>) -> Result<Content, BatchError> {
    let mut receiver = BatchReceiver::new(declared)?;
    for frame in frames {
        receiver.add_frame(&frame)?;
    }
    receiver.commit(None)
}

#[test]
fn unreadable_records_are_counted_and_kept() {
    let frame = vec![client("C1"), Bytes::new(), Bytes::from_static(&[0x0a, 0xff])];
    let content = receive(Declared::default(), vec![frame]).unwrap();
    assert_eq!(content.counts, KindCounts { clients: 1, unreadable: 2, ..KindCounts::default() });
    assert_eq!(content.records.len(), 3);
}

#[test]
fn record_does_not_retain_its_message_buffer() {
    let message = Bytes::from(vec![7; 4_000_000]);
    let mut receiver = BatchReceiver::new(Declared::default()).unwrap();
    receiver.add_frame(&[message.slice(..2), message.slice(9..9), message.slice(9..12)]).unwrap();
    assert!(message.is_unique());
    let content = receiver.commit(None).unwrap();
    assert_eq!(content.records, [&[7, 7][..], &[], &[7, 7, 7]]);
}

#[test]
fn digest_covers_length_prefixed_records() {
    let content = receive(Declared::default(), vec![vec![Bytes::from_static(b"ab")]]).unwrap();
    let expected: BatchDigest = Sha256::digest(b"\0\0\0\0\0\0\0\x02ab").into();
    assert_eq!(content.sha256, expected);
}

#[test]
fn limits_are_enforced_early() {
    let declared = Declared { size_bytes: Some(MAX_BATCH_BYTES + 1), ..Declared::default() };
    assert!(matches!(BatchReceiver::new(declared), Err(BatchError::TooLarge { .. })));
    let declared = Declared { records: Some(MAX_BATCH_RECORDS + 1), ..Declared::default() };
    assert!(matches!(BatchReceiver::new(declared), Err(BatchError::TooManyRecords { .. })));
    let record = |size: usize| Bytes::from(vec![0_u8; size]);
    let mut receiver = BatchReceiver::new(Declared::default()).unwrap();
    assert!(
        receiver.add_frame(&[record(65_537)]).is_ok(),
        "the record fails, and the batch does not"
    );
    assert_eq!(
        receiver.add_frame(&vec![record(65_536); 17]).unwrap_err(),
        BatchError::FrameTooLarge
    );
    let many =
        BatchReceiver::new(Declared::default()).unwrap().add_frame(&vec![Bytes::new(); 50_001]);
    assert!(matches!(many, Err(BatchError::TooManyRecords { records: 50_001, .. })));
}

#[test]
fn batch_at_the_limit_is_accepted_one_byte_over_is_not() {
    let full = vec![Bytes::from(vec![0_u8; 65_536]); 16];
    let mut receiver = BatchReceiver::new(Declared::default()).unwrap();
    for _ in 0..10 {
        receiver.add_frame(&full).unwrap();
    }
    let over = receiver.add_frame(&[Bytes::from_static(b"x")]).unwrap_err();
    assert_eq!(over, BatchError::TooLarge { field: "frame.records", size: 10_485_761 });
}

#[test]
fn content_that_differs_from_the_declaration_is_rejected() {
    let frames = || vec![vec![client("C1")]];
    let right = receive(Declared::default(), frames()).unwrap();
    let declared = |change: fn(&mut Declared)| {
        let mut declared = Declared {
            sha256: Some(right.sha256),
            size_bytes: Some(right.size_bytes.unsigned_abs()),
            records: Some(1),
        };
        change(&mut declared);
        receive(declared, frames()).map(drop)
    };
    assert_eq!(declared(|_| ()), Ok(()));
    let wrong: [fn(&mut Declared); 3] = [
        |declared| declared.sha256 = Some([7; 32]),
        |declared| declared.size_bytes = Some(1),
        |declared| declared.records = Some(2),
    ];
    for change in wrong {
        assert!(matches!(declared(change), Err(BatchError::Mismatch { .. })));
    }
}

proptest! {
    #[test]
    fn digest_is_independent_of_framing(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
        size in 1_usize..5,
    ) {
        let records: Vec<Bytes> = records.into_iter().map(Bytes::from).collect();
        let frames = records.chunks(size).map(<[Bytes]>::to_vec).collect();
        let split = receive(Declared::default(), frames).unwrap();
        let whole = receive(Declared::default(), vec![records]).unwrap();
        prop_assert_eq!(split.sha256, whole.sha256);
        prop_assert_eq!(split.counts, whole.counts);
    }
}
