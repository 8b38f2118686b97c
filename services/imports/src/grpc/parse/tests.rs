use concord_proto::{
    pb::imports::{BatchCommit, upload_batch_request},
    wire::BatchFrame,
};

use super::*;

fn valid() -> BatchHeader {
    BatchHeader {
        import_id: ids::text(IdKind::Import, ids::new_uuid()),
        batch_key: "batch-1".into(),
        ..BatchHeader::default()
    }
}

fn reason(change: impl Fn(&mut BatchHeader)) -> Option<ErrorReason> {
    let mut changed = valid();
    change(&mut changed);
    header(&changed).err().map(|error| error.reason())
}

#[test]
fn minimal_header_is_valid() {
    assert_eq!(reason(|_| ()), None);
    let header = header(&valid()).unwrap();
    assert!(header.declared.size_bytes.is_none() && header.declared.sha256.is_none());
}

#[test]
fn invalid_header_fields_are_reported() {
    assert_eq!(reason(|h| h.import_id = "imp_1".into()), Some(ErrorReason::InvalidId));
    assert_eq!(reason(|h| h.batch_key.clear()), Some(ErrorReason::RequiredFieldBlank));
    assert_eq!(reason(|h| h.batch_key = "a\0b".into()), Some(ErrorReason::InvalidCharacter));
    assert_eq!(reason(|h| h.batch_key = "é".repeat(100)), None);
    assert_eq!(reason(|h| h.batch_key = "é".repeat(101)), Some(ErrorReason::ValueTooLong));
    let spaces = |h: &mut BatchHeader| h.batch_key = format!("a{}b", " ".repeat(100));
    assert_eq!(reason(spaces), Some(ErrorReason::ValueTooLong));
    assert_eq!(reason(|h| h.sha256 = vec![1; 31].into()), Some(ErrorReason::UnknownValue));
    assert_eq!(reason(|h| h.size_bytes = -1), Some(ErrorReason::UnknownValue));
    assert_eq!(reason(|h| h.record_count = -1), Some(ErrorReason::UnknownValue));
}

#[test]
fn invisible_characters_of_a_batch_key_are_removed() {
    let key = |key: &str| batch_key("batch_key", key).map_err(|error| error.reason());
    assert_eq!(key("\u{feff}a  b\u{200b}"), Ok("a  b".to_owned()));
    assert_eq!(key("\u{200b}"), Err(ErrorReason::RequiredFieldBlank));
}

#[test]
fn upload_messages_are_parsed_by_part() {
    let part = |part| message(Ok(UploadBatchRequest { part }));
    let frame = upload_batch_request::Part::Frame(BatchFrame::default());
    assert!(matches!(part(Some(frame)), Ok(Message::Frame(_))));
    let commit = upload_batch_request::Part::Commit(BatchCommit::default());
    assert!(matches!(part(Some(commit)), Ok(Message::Commit(None))));
    assert!(part(None).is_err());
}

#[test]
fn failure_filters_accept_only_possible_values() {
    let id = ids::text(IdKind::Import, ids::new_uuid());
    let asked = |change: fn(&mut ListFailuresRequest)| {
        let mut request = ListFailuresRequest { import_id: id.clone(), ..Default::default() };
        change(&mut request);
        failures(request).map_err(|error| error.reason())
    };
    assert_eq!(asked(|_| ()).unwrap().size, 50);
    assert_eq!(asked(|r| r.page_size = 9_999).unwrap().size, 1_000);
    let imported = asked(|r| r.status = RecordStatus::Imported.into()).unwrap();
    assert_eq!(imported.filter.status.as_deref(), Some("IMPORTED"));
    let warnings = asked(|r| r.severity = WireSeverity::Warning.into()).unwrap();
    assert_eq!(warnings.filter.severity.as_deref(), Some("WARNING"));
    let staged = asked(|r| r.status = RecordStatus::Staged.into()).unwrap_err();
    assert_eq!(staged, ErrorReason::UnknownValue);
    assert_eq!(asked(|r| r.reason = "NO\0".into()).unwrap_err(), ErrorReason::UnknownValue);
    assert!(asked(|r| r.reason = "INVALID_UTR".into()).is_ok());
}
