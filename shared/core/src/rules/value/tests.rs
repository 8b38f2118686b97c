use super::*;
use crate::rules::violation::FieldViolations;
use concord_proto::pb::records::{self, ErrorReason};

fn reasons(result: Result<impl Sized, FieldViolations>) -> Vec<(String, ErrorReason)> {
    let violations = result.err().unwrap_or_default();
    violations.into_iter().map(|one| (one.field, one.reason)).collect()
}

#[test]
fn missing_first_address_line_has_the_documented_text() {
    let address = records::Address { line_1: "  ".into(), ..Default::default() };
    let violations = Address::parse(&address, "addresses[0].address").unwrap_err().into_vec();
    assert_eq!(violations[0].field, "addresses[0].address.line_1");
    assert_eq!(violations[0].text, "Address Line 1 is missing");
}

#[test]
fn address_reports_all_violations_in_field_order() {
    let address = records::Address {
        line_1: "\0".into(),
        line_2: "x".repeat(201),
        town: "\u{1}".into(),
        postcode: "x".repeat(200),
        country: "UK".into(),
        ..Default::default()
    };
    let expected = [
        ("line_1", ErrorReason::InvalidCharacter),
        ("line_2", ErrorReason::ValueTooLong),
        ("town", ErrorReason::InvalidCharacter),
        ("country", ErrorReason::InvalidCountry),
    ];
    let expected = expected.map(|(field, reason)| (field.to_owned(), reason));
    assert_eq!(reasons(Address::parse(&address, "")), expected);
}

#[test]
fn address_is_normalised_and_round_trips() {
    let address = records::Address {
        line_1: " 1  High Street".into(),
        town: "Leeds ".into(),
        postcode: " ls1 1aa".into(),
        country: "gb".into(),
        ..Default::default()
    };
    let parsed = Address::parse(&address, "").unwrap();
    assert_eq!(parsed.display(), "1 High Street, Leeds, ls1 1aa, GB");
    assert_eq!(Address::parse(&(&parsed).into(), "").unwrap(), parsed);
    assert_eq!(Address::from(&address), parsed);
}

#[test]
fn person_needs_a_surname_only() {
    let name = records::PersonName { forename: "Ann".into(), ..Default::default() };
    let expected = [("person.name.surname".to_owned(), ErrorReason::RequiredFieldBlank)];
    assert_eq!(reasons(PersonName::parse(&name, "person.name")), expected);
    let name = records::PersonName { surname: " Okafor".into(), ..Default::default() };
    assert_eq!(PersonName::parse(&name, "").unwrap().display(), "Okafor");
}

fn name(title: &str, forename: &str, middle_names: &str, surname: &str) -> PersonName {
    let text = str::to_owned;
    PersonName {
        title: text(title),
        forename: text(forename),
        middle_names: text(middle_names),
        surname: text(surname),
    }
}

#[test]
fn person_match_key_ignores_title_accents_and_apostrophes() {
    let one = name("Dr", "Ann", "Mary", "O’Brién");
    assert_eq!(one.display(), "Dr Ann Mary O’Brién");
    assert_eq!(one.match_key(), "ann mary obrien");
    assert_eq!(one.match_key(), name("", "ANN MARY", "", "OBrien").match_key());
    assert_ne!(one.match_key(), name("", "Ann", "", "OBrien").match_key());
}

#[test]
fn value_json_omits_empty_fields() {
    let cases = [
        (Value::Name("Acme Limited".into()), r#"{"name":"Acme Limited"}"#),
        (
            Value::PersonName(name("Dr", "Ann", "", "Smith")),
            r#"{"person_name":{"title":"Dr","forename":"Ann","surname":"Smith"}}"#,
        ),
        (
            Value::Address(Address {
                line_1: "1 High St".into(),
                country: "GB".into(),
                ..Address::default()
            }),
            r#"{"address":{"line_1":"1 High St","country":"GB"}}"#,
        ),
    ];
    for (value, json) in cases {
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(serde_json::from_str::<Value>(json).unwrap(), value);
    }
}
