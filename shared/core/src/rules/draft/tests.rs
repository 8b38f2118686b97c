use super::*;
use concord_proto::pb::records::{self, ErrorReason};

fn fields(result: Result<impl Sized, FieldViolations>) -> Vec<(String, &'static str)> {
    let violations = result.err().unwrap_or_default();
    violations.into_iter().map(|one| (one.field, crate::rules::reason_code(one.reason))).collect()
}

#[test]
fn reference_keeps_its_text_and_compares_case_insensitively() {
    let reference = Reference::parse("  Acme 01 ").unwrap();
    assert_eq!(reference, Reference { text: "Acme 01".into(), key: "acme 01".into() });
    assert!(Reference::parse(&"x".repeat(64)).is_ok());
    assert_eq!(Reference::parse(&"x".repeat(65)).unwrap_err().reason, ErrorReason::ValueTooLong);
    let text = Reference::parse(" ").unwrap_err().text;
    assert_eq!(text, "Required field is blank: Client reference");
}

#[test]
fn name_date_without_a_name_is_rejected() {
    let name = |name: &str, active_from: &str| NewName {
        name: name.to_owned(),
        active_from: active_from.to_owned(),
    };
    assert_eq!(DatedName::parse(&name("", ""), "Trading name"), Ok(None));
    let parsed = DatedName::parse(&name(" Acme ", "2026-03-01"), "Trading name").unwrap().unwrap();
    assert_eq!(parsed.name, "Acme");
    assert_eq!(parsed.active_from.unwrap().to_string(), "2026-03-01");
    let half = DatedName::parse(&name("", "2026-03-01"), "Trading name");
    assert_eq!(fields(half), [("name".to_owned(), "REQUIRED_FIELD_BLANK")]);
}

#[test]
fn identifiers_report_all_violations() {
    let identifiers = ClientIdentifiers {
        company_number: "ABC".into(),
        utr: "1234567890".into(),
        vat_number: "1".into(),
        paye_reference: "12/A".into(),
    };
    let expected = [
        ("company_number", "INVALID_COMPANY_NUMBER"),
        ("utr", "INVALID_UTR"),
        ("vat_number", "INVALID_VAT"),
        ("paye_reference", "INVALID_PAYE"),
    ];
    let expected = expected.map(|(field, code)| (field.to_owned(), code));
    assert_eq!(fields(Identifiers::parse(&identifiers, Jurisdiction::Unspecified)), expected);
    let none = Identifiers::parse(&ClientIdentifiers::default(), Jurisdiction::Other);
    assert_eq!(none, Ok(Identifiers::default()));
}

#[test]
fn new_person_reports_all_violations_by_path() {
    let person = NewPerson {
        name: None,
        name_active_from: "x".into(),
        birth_date: "1904-13-01".into(),
        nino: "QQ123456C".into(),
        ppsn: "1".into(),
        emails: vec!["ann@example.com".into(), "ann".into()],
        phones: vec![String::new(), "0".repeat(41)],
        addresses: Vec::new(),
    };
    let expected = [
        ("name.surname", "REQUIRED_FIELD_BLANK"),
        ("name_active_from", "INVALID_DATE"),
        ("birth_date", "INVALID_DATE"),
        ("nino", "INVALID_NINO"),
        ("ppsn", "INVALID_PPSN"),
        ("emails[1]", "INVALID_EMAIL"),
        ("phones[1]", "VALUE_TOO_LONG"),
    ];
    assert_eq!(fields(PersonDraft::parse(&person)), expected.map(|(f, c)| (f.to_owned(), c)));
}

#[test]
fn list_drops_blank_and_repeated_values_and_has_a_limit() {
    let given = ["a@b.ie", "", " a@b.ie ", "c@d.ie"].map(String::from);
    assert_eq!(emails(&given).unwrap(), ["a@b.ie", "c@d.ie"]);
    assert!(phones(&vec!["1".to_owned(); MAX_PHONES]).is_ok());
    let many = phones(&vec!["1".to_owned(); MAX_PHONES + 1]);
    assert_eq!(fields(many), [(String::new(), "VALUE_TOO_LONG")]);
}

#[test]
fn new_address_needs_type_first_line_and_valid_period() {
    let address = NewAddress {
        r#type: 0,
        address: None,
        active_from: "2010-01-01".into(),
        active_to: "2010-01-01".into(),
        external_id: String::new(),
    };
    let expected = [
        ("type", "REQUIRED_FIELD_BLANK"),
        ("address.line_1", "ADDRESS_LINE_1_MISSING"),
        ("active_to", "PERIOD_INVALID"),
    ];
    assert_eq!(fields(AddressDraft::parse(&address)), expected.map(|(f, c)| (f.to_owned(), c)));
    let address = NewAddress {
        r#type: AddressType::Trading as i32,
        address: Some(records::Address { line_1: "1 High Street".into(), ..Default::default() }),
        active_to: "2010-01-02".into(),
        ..address
    };
    assert!(AddressDraft::parse(&address).unwrap().period.is_valid());
}
