//! The verdict on a record by its parents: of a contact its clients, of an
//! address its owner.

use shared::pb::records::ErrorReason;

use super::{
    finding::{Finding, parent_field},
    words::{Kind, Status},
};

/// A parent, as it is when its child is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The source id by which the child names it.
    pub(crate) source_id: String,
    /// What became of it.
    pub(crate) fate: Fate,
}

/// What became of a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is a record: `cli_…` or `per_…`.
    Known(String),
    /// It is neither in the import nor known.
    Missing,
    /// It failed, or is blocked itself.
    Failed {
        /// Its client reference, or its source id when it has none.
        name: String,
        /// What went wrong with the first of the chain.
        root_cause: String,
    },
    /// It is Self-Assessment.
    Excluded,
}

/// The verdict on a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParentsVerdict {
    /// It can be applied, under these parents: source ids and record ids.
    Apply(Vec<(String, String)>),
    /// It cannot: the status, and why.
    Refuse(Status, Vec<Finding>),
}

/// Judges a record of `kind` by its parents.
///
/// A parent that is missing fails it; one that failed blocks it; one that is
/// excluded is dropped, unless no other is left, and then the record is excluded
/// too.
pub(crate) fn judge_parents(kind: Kind, mut parents: Vec<Parent>) -> ParentsVerdict {
    let field = parent_field(kind);
    let (mut known, mut findings) = (Vec::new(), Vec::new());
    let (mut missing, mut excluded) = (false, false);
    // So that the same failures are told in the same order always.
    parents.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    for Parent { source_id, fate } in parents {
        match fate {
            Fate::Known(record_id) => known.push((source_id, record_id)),
            Fate::Excluded => excluded = true,
            Fate::Missing => {
                missing = true;
                let text = format!("Parent record was not found: {source_id}");
                findings.push(Finding::new(field, ErrorReason::ParentNotFound, text));
            }
            Fate::Failed { name, root_cause } => {
                let text = format!("Parent record could not be imported: {name}");
                let finding = Finding::new(field, ErrorReason::ParentFailed, text);
                findings.push(Finding { root_cause, ..finding });
            }
        }
    }
    if !findings.is_empty() {
        let status = if missing { Status::Failed } else { Status::Blocked };
        ParentsVerdict::Refuse(status, findings)
    } else if excluded && known.is_empty() {
        ParentsVerdict::Refuse(Status::Excluded, vec![Finding::excluded(field)])
    } else {
        ParentsVerdict::Apply(known)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parent(source_id: &str, fate: Fate) -> Parent {
        Parent { source_id: source_id.to_owned(), fate }
    }

    fn failed() -> Fate {
        Fate::Failed { name: "XK01".to_owned(), root_cause: "client K01: why".to_owned() }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            "cli_[0-9]{2}".prop_map(Fate::Known),
            Just(Fate::Missing),
            Just(failed()),
            Just(Fate::Excluded),
        ]
    }

    proptest! {
        #[test]
        fn the_order_of_the_parents_does_not_matter(
            (fates, order) in prop::collection::vec(fate(), 1..6)
                .prop_flat_map(|fates| {
                    let order: Vec<usize> = (0..fates.len()).collect();
                    (Just(fates), Just(order).prop_shuffle())
                }),
        ) {
            let parents: Vec<_> =
                fates.iter().enumerate().map(|(n, fate)| parent(&format!("C{n}"), fate.clone())).collect();
            let shuffled = order.iter().map(|n| parents[*n].clone()).collect();
            prop_assert_eq!(
                judge_parents(Kind::Contact, parents),
                judge_parents(Kind::Contact, shuffled)
            );
        }

        #[test]
        fn a_record_is_applied_under_known_parents_only(fates in prop::collection::vec(fate(), 1..6)) {
            let parents = fates.iter().map(|fate| parent("C", fate.clone())).collect();
            let wrong = fates.iter().any(|fate| matches!(fate, Fate::Missing | Fate::Failed { .. }));
            match judge_parents(Kind::Contact, parents) {
                ParentsVerdict::Apply(known) => prop_assert!(!wrong && !known.is_empty()),
                ParentsVerdict::Refuse(Status::Excluded, findings) => {
                    prop_assert!(!wrong && findings.len() == 1);
                }
                ParentsVerdict::Refuse(_, findings) => prop_assert!(wrong && !findings.is_empty()),
            }
        }
    }

    #[test]
    fn a_failed_parent_blocks_and_names_the_root_cause() {
        let parents = vec![parent("K03", Fate::Known("cli_3".into())), parent("K01", failed())];
        let ParentsVerdict::Refuse(status, findings) = judge_parents(Kind::Contact, parents) else {
            panic!("refused")
        };
        assert_eq!(status, Status::Blocked);
        assert_eq!(findings[0].text, "Parent record could not be imported: XK01");
        assert_eq!(findings[0].root_cause, "client K01: why");
        assert_eq!(findings[0].field, "client_source_id");
    }

    #[test]
    fn one_missing_and_one_failed_parent_are_both_told() {
        let parents = vec![parent("K01", failed()), parent("K99", Fate::Missing)];
        let ParentsVerdict::Refuse(status, findings) = judge_parents(Kind::Address, parents) else {
            panic!("refused")
        };
        assert_eq!((status, findings.len()), (Status::Failed, 2));
        assert_eq!(findings[1].text, "Parent record was not found: K99");
    }

    #[test]
    fn an_excluded_parent_is_dropped_unless_it_was_the_only_one() {
        let known = parent("K03", Fate::Known("cli_3".into()));
        let both = vec![known, parent("K12", Fate::Excluded)];
        let applied = ParentsVerdict::Apply(vec![("K03".into(), "cli_3".into())]);
        assert_eq!(judge_parents(Kind::Contact, both), applied);
        let alone = judge_parents(Kind::Contact, vec![parent("K12", Fate::Excluded)]);
        let excluded = vec![Finding::excluded("client_source_id")];
        assert_eq!(alone, ParentsVerdict::Refuse(Status::Excluded, excluded));
    }
}
