use super::*;

fn too_long() -> FieldViolation {
    FieldViolation::new("line_1", ErrorReason::ValueTooLong, "too long")
}

#[test]
fn reason_code_round_trips_for_every_reason() {
    let known: Vec<_> = (0..=200).filter_map(|n| ErrorReason::try_from(n).ok()).collect();
    assert!(known.len() > 50);
    for reason in known {
        let code = reason_code(reason);
        assert!(!code.starts_with("ERROR_REASON"), "{code}");
        assert_eq!(reason_from_code(code), Some(reason));
    }
    assert_eq!(reason_code(ErrorReason::InvalidUtr), "INVALID_UTR");
    assert_eq!(reason_from_code("ERROR_REASON_INVALID_UTR"), None);
    assert_eq!(reason_from_code("NO_SUCH_REASON"), None);
}

#[test]
fn nested_field_has_its_full_path() {
    let inner = FieldViolations::from(too_long());
    let outer = inner.under("address").under("addresses[0]");
    assert_eq!(outer.into_vec()[0].field, "addresses[0].address.line_1");
    assert_eq!(path("emails", "[3]"), "emails[3]");
    assert_eq!(path("emails", ""), "emails");
    assert_eq!(path("", "emails"), "emails");
}

#[test]
fn duplicate_violation_is_dropped() {
    let mut all = FieldViolations::new();
    all.add(too_long());
    all.add(too_long());
    all.add(too_long().under("other"));
    assert_eq!(all.len(), 2);
}

#[test]
fn violations_beyond_the_limit_are_dropped() {
    let mut all = FieldViolations::new();
    all.extend((0..60).map(|n| too_long().under(&format!("addresses[{n}]"))));
    assert_eq!(all.len(), MAX_VIOLATIONS);
    assert_eq!(all.iter().last().unwrap().field, "addresses[49].line_1");
}

#[test]
fn check_returns_the_value_or_records_the_violation() {
    let mut all = FieldViolations::new();
    assert_eq!(all.check(Ok(1)), Some(1));
    assert!(all.is_empty());
    assert_eq!(all.check::<u8>(Err(too_long())), None);
    assert_eq!(all.field::<u8>("x", Err(ValueError::new(ErrorReason::Internal, "y"))), None);
    assert_eq!(all.part::<u8>("p", Err(too_long().into())), None);
    let fields: Vec<_> = all.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["line_1", "x", "p.line_1"]);
    assert_eq!(all.clone().finish(Some(1)), Err(all));
    assert_eq!(FieldViolations::new().finish(Some(1)), Ok(1));
}
