use super::*;

fn long() -> Violation {
    Violation::new("line_1", ErrorReason::ValueTooLong, "too long")
}

#[test]
fn every_reason_reads_back_from_its_code() {
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
fn a_field_is_named_by_its_whole_path() {
    let inner = Violations::from(long());
    let outer = inner.under("address").under("addresses[0]");
    assert_eq!(outer.into_vec()[0].field, "addresses[0].address.line_1");
    assert_eq!(path("emails", "[3]"), "emails[3]");
    assert_eq!(path("emails", ""), "emails");
    assert_eq!(path("", "emails"), "emails");
}

#[test]
fn a_violation_is_kept_once() {
    let mut all = Violations::new();
    all.add(long());
    all.add(long());
    all.add(long().under("other"));
    assert_eq!(all.len(), 2);
}

#[test]
fn fifty_violations_are_kept_and_no_more() {
    let mut all = Violations::new();
    all.extend((0..60).map(|n| long().under(&format!("addresses[{n}]"))));
    assert_eq!(all.len(), MAX_VIOLATIONS);
    assert_eq!(all.iter().last().unwrap().field, "addresses[49].line_1");
}

#[test]
fn a_check_hands_on_the_value_or_notes_the_violation() {
    let mut all = Violations::new();
    assert_eq!(all.check(Ok(1)), Some(1));
    assert!(all.is_empty());
    assert_eq!(all.check::<u8>(Err(long())), None);
    assert_eq!(all.field::<u8>("x", Err(Problem::new(ErrorReason::Internal, "y"))), None);
    assert_eq!(all.part::<u8>("p", Err(long().into())), None);
    let fields: Vec<_> = all.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["line_1", "x", "p.line_1"]);
    assert_eq!(all.clone().finish(Some(1)), Err(all));
    assert_eq!(Violations::new().finish(Some(1)), Ok(1));
}
