use proptest::prelude::*;

use super::*;
use concord_testing::fuzz::Fuzz;

#[test]
fn equivalent_records_have_one_digest() {
    let one = digest_of(contact(vec![at("C1", &["DIRECTOR", "MEMBER"]), at("C2", &["OTHER"])]));
    let same = ImportContact {
        forename: " Ann ".into(),
        ..contact(vec![
            at("C2", &["other"]),
            at(" C1", &["MEMBER"]),
            at("C1", &["DIRECTOR;MEMBER"]),
        ])
    };
    assert_eq!(digest_of(same), one);
    for other in [
        contact(vec![at("C1", &["DIRECTOR"]), at("C2", &["OTHER"])]),
        contact(vec![at("C1", &["DIRECTOR", "MEMBER"]), at("C3", &["OTHER"])]),
        contact(vec![at("C1", &["DIRECTOR", "MEMBER", "OTHER"]), at("C2", &["OTHER"])]),
        ImportContact {
            forename: "ann".into(),
            ..contact(vec![at("C1", &["DIRECTOR", "MEMBER"]), at("C2", &["OTHER"])])
        },
    ] {
        assert_ne!(digest_of(other), one);
    }
    let moved = ImportClient {
        trading_name: "Acme Limited".into(),
        registered_name: String::new(),
        ..client()
    };
    assert_ne!(digest_of(moved), digest_of(client()));
}

#[test]
fn undecodable_record_has_no_kind() {
    let mut truncated =
        ImportRecord { record: Some(client().into_record()), ..Default::default() }.encode_to_vec();
    truncated.pop();
    // Nested groups, beyond the depth limit of the decoder.
    let deep = [[0x0b].repeat(30_000), [0x0c].repeat(30_000)].concat();
    for bytes in [&b""[..], &[0x0a, 0xff], &[0x20, 1], &truncated, &deep] {
        let record = parse_bytes(bytes);
        assert_eq!(record.kind, ImportRecordKind::Unspecified);
        assert_eq!(reported(&record), [(String::new(), "UNREADABLE_RECORD")]);
    }
    assert_ne!(parse_with_digest(&truncated).1, parse_with_digest(b"").1);
    assert_eq!(parse(&ImportRecord { record: None, ..Default::default() }), parse_bytes(b""));
}

/// Values that are valid, almost valid, or random.
fn value() -> impl Strategy<Value = String> {
    let likely = [
        "",
        " ",
        "C1",
        "client",
        "CONTACT",
        "INDIVIDUAL",
        "SELF_ASSESSMENT",
        "TRUST",
        "IRELAND",
        "TRADING",
        "DIRECTOR;OTHER",
        "2020-02-29",
        "2021-02-29",
        "1955839661",
        "GB",
        "a@b.ie",
        "\0",
        "Ann",
        "Ann\u{200b}\u{fffd}",
    ];
    prop_oneof![4 => prop::sample::select(likely.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// The number of values of a record: more than any kind has fields.
const VALUES: usize = 32;

fn record() -> impl Strategy<Value = ImportRecord> {
    let fields = prop::collection::vec(value(), VALUES);
    let clients = prop::collection::vec((value(), prop::collection::vec(value(), 0..3)), 0..4);
    (0..3, fields, clients).prop_map(|(kind, fields, clients)| {
        let clients = clients
            .into_iter()
            .map(|(client_source_id, roles)| ContactClient { client_source_id, roles });
        let mut values = fields.into_iter();
        let mut next = || values.next().unwrap();
        ImportRecord {
            record: Some(match kind {
                0 => Record::Client(ImportClient {
                    source_id: next(),
                    client_reference: next(),
                    client_type: next(),
                    registered_name: next(),
                    trading_name: next(),
                    company_number: next(),
                    utr: next(),
                    vat_number: next(),
                    paye_reference: next(),
                    title: next(),
                    forename: next(),
                    surname: next(),
                    birth_date: next(),
                    email: next(),
                    phone: next(),
                    jurisdiction: next(),
                }),
                1 => Record::Contact(ImportContact {
                    source_id: next(),
                    clients: clients.collect(),
                    title: next(),
                    forename: next(),
                    middle_names: next(),
                    surname: next(),
                    birth_date: next(),
                    email: next(),
                    phone: next(),
                }),
                _ => Record::Address(ImportAddress {
                    source_id: next(),
                    owner_kind: next(),
                    owner_source_id: next(),
                    r#type: next(),
                    line_1: next(),
                    line_2: next(),
                    line_3: next(),
                    town: next(),
                    county: next(),
                    postcode: next(),
                    country: next(),
                    active_from: next(),
                    active_to: next(),
                }),
            }),
            ..Default::default()
        }
    })
}

proptest! {
    #[test]
    fn any_bytes_parse_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let record = parse_bytes(&bytes);
        prop_assert_eq!(&parse_bytes(&bytes), &record);
    }

    #[test]
    fn parsed_record_is_storable_and_printable(record in record()) {
        let parsed = parse(&record);
        prop_assert_eq!(&parse_bytes(&record.encode_to_vec()), &parsed);
        assert_storable_and_printable(&parsed);
    }
}

#[test]
fn fuzzed_record_is_storable_and_printable() {
    Fuzz::corpus("record").cases(2_000).check(|bytes| {
        let parsed = parse_bytes(bytes);
        assert_storable_and_printable(&parsed);
        // The service stores the bytes and sends re-encoded records.
        if let Ok(record) = ImportRecord::decode(bytes)
            && record.record.is_some()
        {
            assert_eq!(parse_bytes(&record.encode_to_vec()), parsed);
        }
    });
}

fn assert_storable_and_printable(parsed: &ParsedRecord) {
    let ParsedRecord {
        source_id,
        reference_key,
        parents,
        record_name,
        own_reference,
        outcome,
        warnings,
        ..
    } = parsed;
    let mut texts = vec![source_id, record_name, own_reference];
    texts.extend(reference_key);
    texts.extend(warnings.iter().map(|one| &one.text));
    texts.extend(parents.iter().map(|(_, id)| id));
    assert!(parents.is_sorted());
    match outcome {
        Ok(_) => assert!(!source_id.is_empty()),
        Err(violations) => {
            assert!(!violations.is_empty());
            texts.extend(violations.iter().map(|one| &one.text));
        }
    }
    for text in texts {
        assert_eq!(forbidden(text), None);
        assert!(text.chars().count() <= 500);
    }
    assert!(!parsed.excluded || outcome.is_err());
}
