//! Records of a dry run that look like each other.
//!
//! The records service undoes every chunk of a dry run, and so compares its records
//! with those of the practice alone. Those of the import are compared here: what
//! each looks like is remembered until the end.

use std::collections::HashMap;

use shared::rules::{
    import::ParsedRecord,
    likeness::{self, Likeness},
};

use crate::{
    domain::{
        duplicate::{OtherRecord, PossibleDuplicate},
        words::{Status, kind_of},
    },
    error::ImportError,
    records_client::Outcome,
    store::{self, likenesses::NewLikeness},
    worker::job::Job,
};

/// What a record looks like, and what it is called.
pub(super) struct Looks {
    likenesses: Vec<Likeness>,
    own: OtherRecord,
}

impl Looks {
    /// Those of a record; none when it is not valid.
    pub(super) fn of(parsed: &ParsedRecord) -> Self {
        let likenesses = parsed.outcome.as_ref().map(likeness::of_import).unwrap_or_default();
        let own = OtherRecord {
            kind: kind_of(parsed.kind),
            record_id: String::new(),
            source_id: parsed.source_id.clone(),
            name: parsed.record_name.clone(),
            reference: parsed.own_reference.clone(),
        };
        Self { likenesses, own }
    }
}

/// Names beside each record the first one of the import that it looks like; the
/// likenesses that no record had before.
pub(super) async fn within(
    job: &Job,
    looking: &[Looks],
    outcomes: &mut [Outcome],
) -> Result<Vec<NewLikeness>, ImportError> {
    let all = looking.iter().flat_map(|looks| &looks.likenesses);
    let firsts = store::likenesses::firsts(job.imports.db.reader(), job.key(), all).await?;
    Ok(compare(looking, outcomes, firsts))
}

/// What a record of the practice shares with one is told already: it was there
/// before any of the import.
fn compare(
    looking: &[Looks],
    outcomes: &mut [Outcome],
    mut firsts: HashMap<Likeness, OtherRecord>,
) -> Vec<NewLikeness> {
    let mut new = Vec::new();
    let imported = looking.iter().zip(outcomes).filter(|(_, o)| o.status == Status::Imported);
    for (Looks { likenesses, own }, outcome) in imported {
        for likeness in likenesses {
            let field = likeness.of.as_str();
            let is_told = outcome.duplicates.iter().any(|told| told.field == field);
            match firsts.get(likeness) {
                Some(_) if is_told => {}
                Some(first) => outcome
                    .duplicates
                    .push(PossibleDuplicate { field: field.to_owned(), other: first.clone() }),
                None => {
                    firsts.insert(likeness.clone(), own.clone());
                    new.push(NewLikeness { likeness: likeness.clone(), first: own.clone() });
                }
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use shared::rules::likeness::Trait;

    use super::*;
    use crate::domain::words::Kind;

    fn other(record_id: &str, source_id: &str) -> OtherRecord {
        OtherRecord {
            kind: Kind::Client,
            record_id: record_id.into(),
            source_id: source_id.into(),
            name: String::new(),
            reference: String::new(),
        }
    }

    fn utr(value: &str) -> Likeness {
        Likeness { of: Trait::Utr, value: value.into() }
    }

    fn looks(source_id: &str, value: &str) -> Looks {
        Looks { likenesses: vec![utr(value)], own: other("", source_id) }
    }

    fn outcome(status: Status, duplicates: Vec<PossibleDuplicate>) -> Outcome {
        Outcome { status, record_id: None, findings: Vec::new(), duplicates }
    }

    #[test]
    fn the_first_of_the_import_is_named_unless_the_practice_has_an_older_one() {
        let told = PossibleDuplicate { field: "utr".into(), other: other("cli_1", "") };
        let looking =
            [looks("A", "1"), looks("B", "2"), looks("C", "2"), looks("D", "2"), looks("E", "3")];
        let mut outcomes = [
            outcome(Status::Imported, Vec::new()),
            outcome(Status::Failed, Vec::new()),
            outcome(Status::Imported, Vec::new()),
            outcome(Status::Imported, Vec::new()),
            outcome(Status::Imported, vec![told]),
        ];
        let before = HashMap::from([(utr("1"), other("", "Z")), (utr("3"), other("", "Y"))]);
        let new = compare(&looking, &mut outcomes, before);
        let names = |at: usize| -> Vec<(String, String)> {
            let named = outcomes[at].duplicates.iter().map(|named| named.other.clone());
            named.map(|other| (other.record_id, other.source_id)).collect()
        };
        let pair = |id: &str, source_id: &str| vec![(id.to_owned(), source_id.to_owned())];
        assert_eq!(names(0), pair("", "Z"));
        assert!(names(1).is_empty(), "a record that failed looks like nothing");
        assert!(names(2).is_empty(), "the first one");
        assert_eq!(names(3), pair("", "C"));
        assert_eq!(names(4), pair("cli_1", ""));
        let new: Vec<_> = new.into_iter().map(|new| (new.likeness, new.first.source_id)).collect();
        assert_eq!(new, [(utr("2"), "C".to_owned())]);
    }
}
