use super::*;
use crate::pb::records::{AddressType, ClientType, Jurisdiction, Role, Timeline};

/// Holds the table of one list against the enum that is generated.
fn complete<T: Term + std::fmt::Debug>(prefix: &str, generated: impl Fn(T) -> &'static str) {
    assert!(T::try_from(0).is_ok_and(|unset| unset.name().is_empty()));
    let all: Vec<T> = (1..=100).filter_map(|n| T::try_from(n).ok()).collect();
    assert_eq!(all, T::ROWS.iter().map(|row| row.term).collect::<Vec<_>>());
    for term in all {
        assert_eq!(format!("{prefix}{}", term.name()), generated(term));
        assert!(!term.label().is_empty());
        assert_eq!(T::parse(term.name()), Ok(Some(term)));
        let spoken = format!("  {} ", term.name().to_lowercase().replace('_', " "));
        assert_eq!(T::parse(&spoken), Ok(Some(term)));
    }
}

#[test]
fn every_value_of_the_protocol_has_its_name_and_a_label() {
    complete::<ClientType>("CLIENT_TYPE_", |term| term.as_str_name());
    complete::<Jurisdiction>("JURISDICTION_", |term| term.as_str_name());
    complete::<Role>("ROLE_", |term| term.as_str_name());
    complete::<AddressType>("ADDRESS_TYPE_", |term| term.as_str_name());
    complete::<Timeline>("TIMELINE_", |term| term.as_str_name());
}

#[test]
fn blank_text_and_zero_are_no_value() {
    assert_eq!(Role::parse("  "), Ok(None));
    assert_eq!(Role::from_wire(0), Ok(None));
    assert_eq!(Role::from_wire(1), Ok(Some(Role::Director)));
}

#[test]
fn an_unknown_value_is_quoted_with_those_that_are_known() {
    let problem = AddressType::parse(&"z".repeat(100)).unwrap_err();
    assert_eq!(problem.reason, ErrorReason::UnknownValue);
    let start =
        format!("Address type is not known: {}…; use one of REGISTERED_OFFICE", "z".repeat(39));
    assert!(problem.text.starts_with(&start), "{}", problem.text);
    assert_eq!(Role::from_wire(99).unwrap_err().reason, ErrorReason::UnknownValue);
    assert_eq!(Role::parse("DIREC\0TOR").unwrap_err().reason, ErrorReason::InvalidCharacter);
}

#[test]
fn names_are_looked_up_in_one_form() {
    for given in ["Self-Assessment", "SELF_ASSESSMENT", " self  assessment", "self - assessment"] {
        assert_eq!(term_key(given), "SELF_ASSESSMENT");
    }
    assert_eq!(term_key(" - "), "");
}
