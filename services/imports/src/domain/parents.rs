//! The verdict on a record by its parents: the clients of a contact, or the owner of an
//! address.

use super::{
    enums::{Kind, Status},
    issue::{RecordIssue, parent_field},
};

/// A parent of a record, with its current state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The source id by which the record refers to it.
    pub(crate) source_id: String,
    /// Its state.
    pub(crate) state: ParentState,
}

/// The state of a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParentState {
    /// It is a stored record: `cli_…` or `per_…`.
    Resolved(String),
    /// It is neither in the import nor linked.
    NotFound,
    /// It failed or is blocked.
    Failed {
        /// Its client reference, or its source id if it has none.
        name: String,
        /// The first failure in the chain of parents.
        root_cause: String,
    },
    /// It is an excluded Self-Assessment client.
    Excluded,
}

/// The verdict on a record by its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParentsVerdict {
    /// The record can be applied, with these parents: source ids and record ids.
    Apply(Vec<(String, String)>),
    /// The record is rejected: its status, and the issues.
    Reject(Status, Vec<RecordIssue>),
}

/// Computes the verdict on a record of `kind` by its parents.
///
/// A missing parent fails the record; a failed parent blocks it; an excluded parent is
/// dropped. If all parents are excluded, the record is excluded too.
pub(crate) fn judge_parents(kind: Kind, mut parents: Vec<Parent>) -> ParentsVerdict {
    let field = parent_field(kind);
    let (mut known, mut issues) = (Vec::new(), Vec::new());
    let (mut missing, mut excluded) = (false, false);
    // Sorted, so that equal failures are reported in the same order.
    parents.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    for Parent { source_id, state } in parents {
        match state {
            ParentState::Resolved(record_id) => known.push((source_id, record_id)),
            ParentState::Excluded => excluded = true,
            ParentState::NotFound => {
                missing = true;
                issues.push(RecordIssue::parent_not_found(field, &source_id));
            }
            ParentState::Failed { name, root_cause } => {
                issues.push(RecordIssue::parent_failed(field, &name, root_cause));
            }
        }
    }
    if !issues.is_empty() {
        let status = if missing { Status::Failed } else { Status::Blocked };
        ParentsVerdict::Reject(status, issues)
    } else if excluded && known.is_empty() {
        ParentsVerdict::Reject(Status::Excluded, vec![RecordIssue::excluded(field)])
    } else {
        ParentsVerdict::Apply(known)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parent(source_id: &str, state: ParentState) -> Parent {
        Parent { source_id: source_id.to_owned(), state }
    }

    fn failed() -> ParentState {
        ParentState::Failed { name: "XK01".to_owned(), root_cause: "client K01: why".to_owned() }
    }

    fn state() -> impl Strategy<Value = ParentState> {
        prop_oneof![
            "cli_[0-9]{2}".prop_map(ParentState::Resolved),
            Just(ParentState::NotFound),
            Just(failed()),
            Just(ParentState::Excluded),
        ]
    }

    proptest! {
        #[test]
        fn result_is_independent_of_parent_order(
            (states, order) in prop::collection::vec(state(), 1..6)
                .prop_flat_map(|states| {
                    let order: Vec<usize> = (0..states.len()).collect();
                    (Just(states), Just(order).prop_shuffle())
                }),
        ) {
            let parents: Vec<_> = states
                .iter()
                .enumerate()
                .map(|(n, state)| parent(&format!("C{n}"), state.clone()))
                .collect();
            let shuffled = order.iter().map(|n| parents[*n].clone()).collect();
            prop_assert_eq!(
                judge_parents(Kind::Contact, parents),
                judge_parents(Kind::Contact, shuffled)
            );
        }

        #[test]
        fn record_is_applied_only_under_resolved_parents(
            states in prop::collection::vec(state(), 1..6),
        ) {
            let parents = states.iter().map(|state| parent("C", state.clone())).collect();
            let is_rejecting =
                |s: &ParentState| matches!(s, ParentState::NotFound | ParentState::Failed { .. });
            let rejects = states.iter().any(is_rejecting);
            match judge_parents(Kind::Contact, parents) {
                ParentsVerdict::Apply(known) => prop_assert!(!rejects && !known.is_empty()),
                ParentsVerdict::Reject(Status::Excluded, issues) => {
                    prop_assert!(!rejects && issues.len() == 1);
                }
                ParentsVerdict::Reject(_, issues) => prop_assert!(rejects && !issues.is_empty()),
            }
        }
    }

    #[test]
    fn failed_parent_blocks_record_with_root_cause() {
        let parents =
            vec![parent("K03", ParentState::Resolved("cli_3".into())), parent("K01", failed())];
        let ParentsVerdict::Reject(status, issues) = judge_parents(Kind::Contact, parents) else {
            panic!("expected a rejection")
        };
        assert_eq!(status, Status::Blocked);
        assert_eq!(issues[0].text, "Parent record could not be imported: XK01");
        assert_eq!(issues[0].root_cause, "client K01: why");
        assert_eq!(issues[0].field, "client_source_id");
    }

    #[test]
    fn missing_and_failed_parents_are_both_reported() {
        let parents = vec![parent("K01", failed()), parent("K99", ParentState::NotFound)];
        let ParentsVerdict::Reject(status, issues) = judge_parents(Kind::Address, parents) else {
            panic!("expected a rejection")
        };
        assert_eq!((status, issues.len()), (Status::Failed, 2));
        assert_eq!(issues[1].text, "Parent record was not found: K99");
    }

    #[test]
    fn excluded_parent_is_dropped_unless_it_is_the_only_one() {
        let known = parent("K03", ParentState::Resolved("cli_3".into()));
        let both = vec![known, parent("K12", ParentState::Excluded)];
        let applied = ParentsVerdict::Apply(vec![("K03".into(), "cli_3".into())]);
        assert_eq!(judge_parents(Kind::Contact, both), applied);
        let alone = judge_parents(Kind::Contact, vec![parent("K12", ParentState::Excluded)]);
        let excluded = vec![RecordIssue::excluded("client_source_id")];
        assert_eq!(alone, ParentsVerdict::Reject(Status::Excluded, excluded));
    }
}
