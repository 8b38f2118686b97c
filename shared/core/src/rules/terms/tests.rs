use super::*;
use concord_proto::pb::records::{AddressType, ClientType, Jurisdiction, Role, Timeline};

/// Compares the table of an enum with the generated enum.
fn check_table<T: Term + std::fmt::Debug>(prefix: &str, generated: impl Fn(T) -> &'static str) {
    assert!(T::try_from(0).is_ok_and(|unset| unset.name().is_empty()));
    let all: Vec<T> = (1..=100).filter_map(|n| T::try_from(n).ok()).collect();
    assert_eq!(all, T::ROWS.iter().map(|row| row.term).collect::<Vec<_>>());
    for term in all {
        assert_eq!(format!("{prefix}{}", term.name()), generated(term));
        assert!(!term.label().is_empty());
        assert_eq!(T::parse(term.name()), Ok(Some(term)));
        let lower_case = format!("  {} ", term.name().to_lowercase().replace('_', " "));
        assert_eq!(T::parse(&lower_case), Ok(Some(term)));
    }
}

#[test]
fn every_enum_value_has_a_name_and_a_label() {
    check_table::<ClientType>("CLIENT_TYPE_", |term| term.as_str_name());
    check_table::<Jurisdiction>("JURISDICTION_", |term| term.as_str_name());
    check_table::<Role>("ROLE_", |term| term.as_str_name());
    check_table::<AddressType>("ADDRESS_TYPE_", |term| term.as_str_name());
    check_table::<Timeline>("TIMELINE_", |term| term.as_str_name());
}

#[test]
fn blank_text_and_zero_are_none() {
    assert_eq!(Role::parse("  "), Ok(None));
    assert_eq!(Role::from_wire(0), Ok(None));
    assert_eq!(Role::from_wire(1), Ok(Some(Role::Director)));
}

#[test]
fn unknown_value_error_lists_the_known_values() {
    let error = AddressType::parse(&"z".repeat(100)).unwrap_err();
    assert_eq!(error.reason, ErrorReason::UnknownValue);
    let start =
        format!("Address type is not known: {}…; use one of REGISTERED_OFFICE", "z".repeat(39));
    assert!(error.text.starts_with(&start), "{}", error.text);
    assert_eq!(Role::from_wire(99).unwrap_err().reason, ErrorReason::UnknownValue);
    assert_eq!(Role::parse("DIREC\0TOR").unwrap_err().reason, ErrorReason::InvalidCharacter);
}

#[test]
fn term_key_ignores_case_and_separators() {
    for given in ["Self-Assessment", "SELF_ASSESSMENT", " self  assessment", "self - assessment"] {
        assert_eq!(term_key(given), "SELF_ASSESSMENT");
    }
    assert_eq!(term_key(" - "), "");
}
