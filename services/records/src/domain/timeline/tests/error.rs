use super::{super::*, support::*};

#[test]
fn error_text_contains_entries_and_remedy() {
    let timeline = given(ADDRESS, &["1 A 2026-03-01.."]);
    let refusal = timeline.add(add(2, ADDRESS, "B", "2026-03-01")).unwrap_err();
    let text = "ent_00000000000000000000000000000001 begins on that very day: when its value is \
        wrong, correct it with CorrectEntry";
    assert_eq!(refusal.to_string(), text);
    assert_eq!(concord_core::rules::reason_code(refusal.reason()), "ENTRY_STARTS_SAME_DAY");
}

#[test]
fn error_text_lists_five_entries_at_most() {
    let named = |n: u128| {
        let refusal = TimelineError::Overlap((1..=n).map(id).collect());
        assert_eq!(refusal.entries().len(), usize::try_from(n).unwrap());
        (refusal.to_string().matches("ent_").count(), refusal.to_string().contains("more:"))
    };
    assert_eq!(named(5), (5, false));
    assert_eq!(named(7), (5, true));
}

#[test]
fn gap_error_contains_required_end() {
    let key = TimelineKey::RegisteredName;
    let timeline = given(key, &["1 A 2015-01-01.."]);
    let refusal = timeline.add_past(past(2, key, "B", "2010-01-01..2014-01-01")).unwrap_err();
    assert!(refusal.to_string().contains("begins, on 2015-01-01: end it there"), "{refusal}");
}
