use super::*;
use concord_proto::pb::records::AddressType;

#[test]
fn valid_address_has_its_owner_as_parent() {
    let record = parsed(address());
    assert_eq!(record.parents, [(ImportRecordKind::Client, "C1".to_owned())]);
    assert_eq!(record.record_name, "Trading address");
    let slot = record.address_slot.unwrap();
    assert_eq!(slot.address_type, AddressType::Trading);
    let Ok(ImportDraft::Address { owner, owner_source_id, address }) = record.outcome else {
        panic!()
    };
    assert_eq!((owner, owner_source_id.as_str()), (OwnerKind::Client, "C1"));
    assert_eq!((address.period.from, address.period.to), (slot.active_from, slot.active_to));
}

#[test]
fn address_reports_all_violations_in_column_order() {
    let record = ImportAddress {
        source_id: "A1".into(),
        owner_kind: "person".into(),
        country: "UK".into(),
        active_from: "2021-02-29".into(),
        ..Default::default()
    };
    let violations = [
        ("owner_kind", "UNKNOWN_VALUE"),
        ("owner_source_id", "REQUIRED_FIELD_BLANK"),
        ("type", "REQUIRED_FIELD_BLANK"),
        ("line_1", "ADDRESS_LINE_1_MISSING"),
        ("country", "INVALID_COUNTRY"),
        ("active_from", "INVALID_DATE"),
    ];
    let record = expect(record, violations);
    assert_eq!(text(&record), "Owner kind is not known: person; use one of client, contact");
    assert_eq!((record.address_slot, record.record_name.as_str()), (None, "Address"));
}

#[test]
fn malformed_postcode_is_kept_with_a_warning() {
    let record = parsed(ImportAddress { postcode: "NOT 1".into(), ..address() });
    assert_eq!(warned(&record), [("postcode", "INVALID_POSTCODE")]);
    let Ok(ImportDraft::Address { address, .. }) = record.outcome else { panic!() };
    assert_eq!(address.address.postcode, "NOT 1");
}

#[test]
fn address_slot_depends_on_type_and_period_only() {
    let record = ImportAddress { line_1: String::new(), owner_kind: "Contact".into(), ..address() };
    let record = expect(record, [("line_1", "ADDRESS_LINE_1_MISSING")]);
    assert!(record.address_slot.is_some());
    assert_eq!(record.parents, [(ImportRecordKind::Contact, "C1".to_owned())]);
    let record = ImportAddress { active_to: "2001-01-01".into(), ..address() };
    let record = expect(record, [("active_to", "PERIOD_INVALID")]);
    assert!(record.address_slot.is_none());
}
