use super::*;

#[test]
fn a_valid_client_is_read_whole() {
    let record = parsed(ImportClient {
        company_number: "7687209".into(),
        trading_name: " Acme  Shop ".into(),
        phone: "0113 496 0000".into(),
        ..client()
    });
    assert_eq!((record.kind, record.source_id.as_str()), (ImportRecordKind::Client, "C1"));
    assert_eq!(record.reference_key.as_deref(), Some("acme01"));
    assert_eq!(record.record_name, "Acme Limited");
    assert_eq!(record.own_reference, "Acme01");
    let Ok(ImportDraft::Client { client, individual: None }) = record.outcome else { panic!() };
    assert_eq!(client.registered_name.unwrap().name, "Acme Limited");
    assert_eq!(client.trading_name.unwrap().name, "Acme Shop");
    assert_eq!(client.identifiers.company_number.as_deref(), Some("07687209"));
    assert_eq!(client.phones, ["0113 496 0000"]);
}

#[test]
fn an_individual_comes_with_its_person_and_without_a_registered_name() {
    let record = parsed(ImportClient { registered_name: "Ignored".into(), ..individual() });
    assert_eq!(record.record_name, "Dr Grace Okafor");
    let Ok(ImportDraft::Client { client, individual: Some(person) }) = record.outcome else {
        panic!()
    };
    assert_eq!(client.registered_name, None);
    assert_eq!(client.emails, ["grace@example.com"]);
    assert_eq!(person.name.display(), "Dr Grace Okafor");
    assert_eq!(person.birth_date.unwrap().to_string(), "1975-05-05");
}

#[test]
fn every_violation_of_a_client_is_reported_in_the_order_of_the_columns() {
    let violations = [
        ("source_id", "REQUIRED_FIELD_BLANK"),
        ("client_reference", "REQUIRED_FIELD_BLANK"),
        ("client_type", "UNKNOWN_VALUE"),
        ("trading_name", "VALUE_TOO_LONG"),
        ("company_number", "INVALID_COMPANY_NUMBER"),
        ("utr", "INVALID_UTR"),
        ("vat_number", "INVALID_VAT"),
        ("paye_reference", "INVALID_PAYE"),
        ("surname", "INVALID_CHARACTER"),
        ("email", "INVALID_EMAIL"),
        ("phone", "VALUE_TOO_LONG"),
    ];
    let record = ImportClient {
        source_id: " ".into(),
        client_type: "ZEBRA".into(),
        trading_name: "x".repeat(301),
        company_number: "ABC".into(),
        utr: "1234567890".into(),
        vat_number: "1".into(),
        paye_reference: "1".into(),
        surname: "\0".into(),
        birth_date: "not judged".into(),
        email: "x".into(),
        phone: "0".repeat(41),
        ..Default::default()
    };
    let record = expect(record, violations);
    assert_eq!(text(&record), "Required field is blank: Source id");
    assert_eq!(record.source_id, "");
    assert_eq!(record.reference_key, None);
}

#[test]
fn what_is_required_depends_on_the_type() {
    let blank = "REQUIRED_FIELD_BLANK";
    let nameless = ImportClient { registered_name: String::new(), ..client() };
    let record = expect(nameless.clone(), [("registered_name", blank)]);
    assert_eq!(text(&record), "Required field is blank: Registered name");
    assert_eq!(record.record_name, "Acme01");
    let record = expect(
        ImportClient { surname: " ".into(), birth_date: "5 May".into(), ..individual() },
        [("surname", blank), ("birth_date", "INVALID_DATE")],
    );
    assert_eq!(text(&record), "Required field is blank: Surname");
    let record =
        expect(ImportClient { client_type: String::new(), ..nameless }, [("client_type", blank)]);
    assert_eq!(text(&record), "Required field is blank: Client type");
}

#[test]
fn self_assessment_is_excluded_whatever_else_is_wrong_with_it() {
    for client_type in ["SELF_ASSESSMENT", "Self-Assessment", " self assessment "] {
        let record = ImportClient {
            client_type: client_type.into(),
            client_reference: String::new(),
            utr: "1\0".into(),
            ..client()
        };
        let record = expect(record, [("client_type", "CLIENT_TYPE_EXCLUDED")]);
        assert!(record.excluded);
        assert_eq!(text(&record), "Client type is Self-Assessment");
        assert_eq!(record.record_name, "Acme Limited");
        assert_eq!(record.reference_key, None);
    }
}

#[test]
fn a_record_without_a_key_fails_even_when_its_type_is_excluded() {
    let record = ImportClient {
        source_id: String::new(),
        client_type: "SELF_ASSESSMENT".into(),
        ..client()
    };
    assert!(!expect(record, [("source_id", "REQUIRED_FIELD_BLANK")]).excluded);
}

#[test]
fn a_source_id_that_cannot_be_a_key_is_none() {
    for (id, code) in [("C\0", "INVALID_CHARACTER"), (&"x".repeat(201), "VALUE_TOO_LONG")] {
        let record = ImportClient { source_id: id.into(), ..client() };
        assert_eq!(expect(record, [("source_id", code)]).source_id, "");
    }
    let record = parsed(ImportClient { source_id: format!(" {} ", "x".repeat(200)), ..client() });
    assert_eq!(record.source_id, "x".repeat(200));
}
