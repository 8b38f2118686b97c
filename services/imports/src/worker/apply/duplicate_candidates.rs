//! Finds possible duplicates among the records of a dry run.
//!
//! The records service rolls back every chunk of a dry run, so it compares records only
//! with the stored records of the practice. The records of the import are compared with
//! each other here; their match keys are stored until the end of the dry run.

use std::collections::HashMap;

use concord_core::rules::{
    import::ParsedRecord,
    match_key::{self, MatchKey},
};

use crate::{
    domain::{
        duplicate::{OtherRecord, PossibleDuplicate},
        enums::{Status, kind_of},
    },
    error::ImportError,
    records_client::Outcome,
    store::{self, match_keys::NewMatchKey},
    worker::page_context::PageContext,
};

/// The match keys of a record, and its display fields.
pub(super) struct RecordMatchKeys {
    match_keys: Vec<MatchKey>,
    own: OtherRecord,
}

impl RecordMatchKeys {
    /// The match keys of a record; none if it is invalid.
    pub(super) fn of(parsed: &ParsedRecord) -> Self {
        let match_keys = parsed.outcome.as_ref().map(match_key::of_import).unwrap_or_default();
        let own = OtherRecord {
            kind: kind_of(parsed.kind),
            record_id: String::new(),
            source_id: parsed.source_id.clone(),
            name: parsed.record_name.clone(),
            reference: parsed.own_reference.clone(),
        };
        Self { match_keys, own }
    }
}

/// Adds to each outcome the first record of the import with the same match key. Returns
/// the match keys that no earlier record had.
pub(super) async fn find_within_import(
    context: &PageContext,
    candidates: &[RecordMatchKeys],
    outcomes: &mut [Outcome],
) -> Result<Vec<NewMatchKey>, ImportError> {
    let all = candidates.iter().flat_map(|record| &record.match_keys);
    let firsts = store::match_keys::firsts(context.reader(), all).await?;
    Ok(compare(candidates, outcomes, firsts))
}

/// A match with a record of the practice takes precedence: that record is older than
/// the import.
fn compare(
    candidates: &[RecordMatchKeys],
    outcomes: &mut [Outcome],
    mut firsts: HashMap<MatchKey, OtherRecord>,
) -> Vec<NewMatchKey> {
    let mut new = Vec::new();
    let imported = candidates.iter().zip(outcomes).filter(|(_, o)| o.status == Status::Imported);
    for (RecordMatchKeys { match_keys, own }, outcome) in imported {
        for match_key in match_keys {
            let field = match_key.field.as_str();
            let is_reported = outcome.duplicates.iter().any(|reported| reported.field == field);
            match firsts.get(match_key) {
                Some(_) if is_reported => {}
                Some(first) => outcome
                    .duplicates
                    .push(PossibleDuplicate { field: field.to_owned(), other: first.clone() }),
                None => {
                    firsts.insert(match_key.clone(), own.clone());
                    new.push(NewMatchKey { match_key: match_key.clone(), first: own.clone() });
                }
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use concord_core::rules::match_key::MatchField;

    use super::*;
    use crate::domain::enums::Kind;

    fn other(record_id: &str, source_id: &str) -> OtherRecord {
        OtherRecord {
            kind: Kind::Client,
            record_id: record_id.into(),
            source_id: source_id.into(),
            name: String::new(),
            reference: String::new(),
        }
    }

    fn utr(value: &str) -> MatchKey {
        MatchKey { field: MatchField::Utr, value: value.into() }
    }

    fn record(source_id: &str, value: &str) -> RecordMatchKeys {
        RecordMatchKeys { match_keys: vec![utr(value)], own: other("", source_id) }
    }

    fn outcome(status: Status, duplicates: Vec<PossibleDuplicate>) -> Outcome {
        Outcome { status, record_id: None, issues: Vec::new(), duplicates }
    }

    #[test]
    fn first_candidate_is_named_unless_the_practice_has_one() {
        let reported = PossibleDuplicate { field: "utr".into(), other: other("cli_1", "") };
        let candidates = [
            record("A", "1"),
            record("B", "2"),
            record("C", "2"),
            record("D", "2"),
            record("E", "3"),
        ];
        let mut outcomes = [
            outcome(Status::Imported, Vec::new()),
            outcome(Status::Failed, Vec::new()),
            outcome(Status::Imported, Vec::new()),
            outcome(Status::Imported, Vec::new()),
            outcome(Status::Imported, vec![reported]),
        ];
        let before = HashMap::from([(utr("1"), other("", "Z")), (utr("3"), other("", "Y"))]);
        let new = compare(&candidates, &mut outcomes, before);
        let names = |at: usize| -> Vec<(String, String)> {
            let named = outcomes[at].duplicates.iter().map(|named| named.other.clone());
            named.map(|other| (other.record_id, other.source_id)).collect()
        };
        let pair = |id: &str, source_id: &str| vec![(id.to_owned(), source_id.to_owned())];
        assert_eq!(names(0), pair("", "Z"));
        assert!(names(1).is_empty(), "a failed record has no duplicates");
        assert!(names(2).is_empty(), "the first one");
        assert_eq!(names(3), pair("", "C"));
        assert_eq!(names(4), pair("cli_1", ""));
        let new: Vec<_> = new.into_iter().map(|new| (new.match_key, new.first.source_id)).collect();
        assert_eq!(new, [(utr("2"), "C".to_owned())]);
    }
}
