use super::*;

#[test]
fn a_valid_address_hangs_on_its_owner() {
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
fn every_violation_of_an_address_is_reported_in_the_order_of_the_columns() {
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
fn a_malformed_postcode_is_a_warning_and_kept() {
    let record = parsed(ImportAddress { postcode: "NOT 1".into(), ..address() });
    assert_eq!(warned(&record), [("postcode", "INVALID_POSTCODE")]);
    let Ok(ImportDraft::Address { address, .. }) = record.outcome else { panic!() };
    assert_eq!(address.address.postcode, "NOT 1");
}

#[test]
fn an_address_keeps_its_slot_when_only_other_fields_are_wrong() {
    let record = ImportAddress { line_1: String::new(), owner_kind: "Contact".into(), ..address() };
    let record = expect(record, [("line_1", "ADDRESS_LINE_1_MISSING")]);
    assert!(record.address_slot.is_some());
    assert_eq!(record.parents, [(ImportRecordKind::Contact, "C1".to_owned())]);
    let record = ImportAddress { active_to: "2001-01-01".into(), ..address() };
    let record = expect(record, [("active_to", "PERIOD_INVALID")]);
    assert!(record.address_slot.is_none());
}
