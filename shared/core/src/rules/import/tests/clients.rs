use super::*;
use concord_proto::pb::records::Jurisdiction;

const INVISIBLE: &str = "INVISIBLE_CHARACTER";
const DAMAGED: &str = "DAMAGED_TEXT";

#[test]
fn valid_client_is_parsed() {
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
fn company_number_depends_on_the_jurisdiction() {
    let of = |jurisdiction: &str| {
        let (jurisdiction, number) = (jurisdiction.to_owned(), "123456".to_owned());
        parsed(ImportClient { jurisdiction, company_number: number, ..client() })
    };
    for (given, jurisdiction, number) in [
        ("", Jurisdiction::Unspecified, "00123456"),
        ("Ireland", Jurisdiction::Ireland, "123456"),
        ("isle of man", Jurisdiction::IsleOfMan, "123456"),
        ("OTHER", Jurisdiction::Other, "123456"),
    ] {
        let Ok(ImportDraft::Client { client, .. }) = of(given).outcome else { panic!("{given}") };
        assert_eq!(client.jurisdiction, jurisdiction);
        assert_eq!(client.identifiers.company_number.as_deref(), Some(number));
    }
    assert_eq!(reported(&of("Atlantis")), [("jurisdiction".to_owned(), "UNKNOWN_VALUE")]);
}

#[test]
fn individual_has_a_person_and_no_registered_name() {
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
fn client_reports_all_violations_in_column_order() {
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
fn invalid_email_and_phone_are_left_out_with_a_warning() {
    let record = parsed(ImportClient {
        email: "ann@".into(),
        phone: "0".repeat(41),
        registered_name: "Acme\u{200b} Limited".into(),
        ..client()
    });
    let warnings =
        [("email", "INVALID_EMAIL"), ("phone", "VALUE_TOO_LONG"), ("registered_name", INVISIBLE)];
    assert_eq!(warned(&record), warnings);
    let Ok(ImportDraft::Client { client, .. }) = record.outcome else { panic!() };
    assert!(client.emails.is_empty() && client.phones.is_empty());
    assert_eq!(client.registered_name.unwrap().name, "Acme Limited");
}

#[test]
fn invisible_characters_in_ids_are_removed_without_a_warning() {
    let record = ImportClient {
        source_id: "\u{feff}C1".into(),
        client_reference: "Acme\u{2060}01\u{200d}".into(),
        email: "\u{202a}ann@example.com\u{202c}".into(),
        phone: "0113\u{ad} 496 0000".into(),
        utr: "19558\u{200e}39661".into(),
        ..client()
    };
    let digest = digest_of(record.clone());
    let record = parsed(record);
    assert!(warned(&record).is_empty());
    assert_eq!((record.source_id.as_str(), record.own_reference.as_str()), ("C1", "Acme01"));
    let Ok(ImportDraft::Client { client: read, .. }) = &record.outcome else { panic!() };
    assert_eq!(read.emails, ["ann@example.com"]);
    assert_eq!(read.phones, ["0113 496 0000"]);
    let plain = ImportClient {
        email: "ann@example.com".into(),
        phone: "0113 496 0000".into(),
        utr: "1955839661".into(),
        ..client()
    };
    assert_eq!(digest, digest_of(plain));
    let named = parsed(ImportClient { registered_name: "\u{200b}\u{3164}".into(), ..client() });
    assert_eq!(reported(&named), [("registered_name".to_owned(), "REQUIRED_FIELD_BLANK")]);
}

#[test]
fn damaged_text_is_a_warning_in_every_field() {
    let record = parsed(ImportClient {
        source_id: "C\u{fffd}".into(),
        trading_name: "Caf\u{fffd}".into(),
        ..client()
    });
    assert_eq!(warned(&record), [("source_id", DAMAGED), ("trading_name", DAMAGED)]);
    assert!(record.outcome.is_ok());
}

#[test]
fn required_fields_depend_on_the_client_type() {
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
fn self_assessment_is_excluded_despite_other_violations() {
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
fn record_without_a_key_fails_even_if_its_type_is_excluded() {
    let record = ImportClient {
        source_id: String::new(),
        client_type: "SELF_ASSESSMENT".into(),
        ..client()
    };
    assert!(!expect(record, [("source_id", "REQUIRED_FIELD_BLANK")]).excluded);
}

#[test]
fn invalid_source_id_is_empty() {
    for (id, code) in [("C\0", "INVALID_CHARACTER"), (&"x".repeat(201), "VALUE_TOO_LONG")] {
        let record = ImportClient { source_id: id.into(), ..client() };
        assert_eq!(expect(record, [("source_id", code)]).source_id, "");
    }
    let record = parsed(ImportClient { source_id: format!(" {} ", "x".repeat(200)), ..client() });
    assert_eq!(record.source_id, "x".repeat(200));
}
