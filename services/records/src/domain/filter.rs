//! The filter of a stream of changes.

use concord_core::caller::{Account, Author, PracticeId, Product};
use concord_proto::pb::records::{EchoMode, RecordKind};

/// The filter of a stream: which changes it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// How the stream treats changes of its own account.
    pub(crate) echo: EchoMode,
    /// Kinds of record; all when empty.
    pub(crate) kinds: Vec<RecordKind>,
    pub(crate) linked_only: bool,
    /// Practices; all that the recipient may read when empty.
    pub(crate) practices: Vec<PracticeId>,
}

/// The recipient of a stream: an account of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipient<'a> {
    /// All practices of the product when there is none.
    pub(crate) practice: Option<&'a PracticeId>,
    pub(crate) product: &'a Product,
    pub(crate) account: &'a Account,
}

/// The attributes of a change that a filter evaluates.
#[derive(Clone, Debug)]
pub(crate) struct ChangeAttributes<'a> {
    pub(crate) practice: &'a str,
    /// Kinds of the record and of the records whose images go with it.
    pub(crate) kinds: Vec<RecordKind>,
    /// True if the product was linked to the record.
    pub(crate) linked: bool,
    pub(crate) author: Author<'a>,
}

/// The result of a filter for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Sent,
    /// The recipient made it, and the echo mode suppresses own changes.
    Suppressed,
    /// The filter excludes its practice.
    OtherPractice,
    /// The filter excludes its kinds of record.
    OtherKind,
    /// The product was not linked to the record.
    NotLinked,
}

impl ChangeAttributes<'_> {
    /// True if the account of the recipient made the change. False for changes of the
    /// system.
    pub(crate) fn is_own(&self, recipient: Recipient<'_>) -> bool {
        match self.author {
            Author::System => false,
            Author::Account { product, account } => {
                product == recipient.product.as_str() && account == recipient.account.as_str()
            }
        }
    }
}

impl Filter {
    /// Evaluates the filter for a change.
    pub(crate) fn verdict(
        &self,
        recipient: Recipient<'_>,
        change: &ChangeAttributes<'_>,
    ) -> Verdict {
        if recipient.practice.is_some_and(|practice| practice.as_str() != change.practice)
            || !self.wants_practice(change.practice)
        {
            Verdict::OtherPractice
        } else if !self.kinds.is_empty() && !change.kinds.iter().any(|k| self.kinds.contains(k)) {
            Verdict::OtherKind
        } else if self.linked_only && !change.linked {
            Verdict::NotLinked
        } else if self.echo == EchoMode::Suppress && change.is_own(recipient) {
            Verdict::Suppressed
        } else {
            Verdict::Sent
        }
    }

    /// The practices of the filter, each once; empty for all.
    pub(crate) fn practices(&self) -> Vec<PracticeId> {
        let mut practices = self.practices.clone();
        practices.sort_unstable();
        practices.dedup();
        practices
    }

    /// True if the filter includes a practice.
    pub(crate) fn wants_practice(&self, practice: &str) -> bool {
        self.practices.is_empty() || self.practices.iter().any(|one| one.as_str() == practice)
    }

    /// True if the filter includes a kind of record.
    pub(crate) fn wants_kind(&self, kind: RecordKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        Filter {
            echo: EchoMode::Suppress,
            kinds: Vec::new(),
            linked_only: false,
            practices: Vec::new(),
        }
    }

    fn change() -> ChangeAttributes<'static> {
        ChangeAttributes {
            practice: "p1",
            kinds: vec![RecordKind::Contact, RecordKind::Person],
            linked: false,
            author: Author::Account { product: "books", account: "main" },
        }
    }

    fn verdict(filter: &Filter, practice: Option<&str>, product: &str) -> Verdict {
        let practice = practice.map(|practice| practice.parse().unwrap());
        let (product, account) = (product.parse().unwrap(), "main".parse().unwrap());
        let recipient =
            Recipient { practice: practice.as_ref(), product: &product, account: &account };
        filter.verdict(recipient, &change())
    }

    #[test]
    fn verdict_sends_only_requested_practices() {
        assert_eq!(verdict(&filter(), Some("p1"), "ap"), Verdict::Sent);
        assert_eq!(verdict(&filter(), Some("p2"), "ap"), Verdict::OtherPractice);
        assert_eq!(verdict(&filter(), None, "ap"), Verdict::Sent);
        let narrowed = Filter { practices: vec!["p2".parse().unwrap()], ..filter() };
        assert_eq!(verdict(&narrowed, None, "ap"), Verdict::OtherPractice);
    }

    #[test]
    fn verdict_matches_kinds_of_companion_records() {
        let kinds = |kind| Filter { kinds: vec![kind], ..filter() };
        assert_eq!(verdict(&kinds(RecordKind::Person), None, "ap"), Verdict::Sent);
        assert_eq!(verdict(&kinds(RecordKind::Client), None, "ap"), Verdict::OtherKind);
    }

    #[test]
    fn verdict_excludes_own_and_unlinked_changes_on_request() {
        assert_eq!(verdict(&filter(), None, "books"), Verdict::Suppressed);
        let marked = Filter { echo: EchoMode::Mark, ..filter() };
        assert_eq!(verdict(&marked, None, "books"), Verdict::Sent);
        let linked = Filter { linked_only: true, ..filter() };
        assert_eq!(verdict(&linked, None, "ap"), Verdict::NotLinked);
    }

    #[test]
    fn verdict_of_system_change_is_never_own() {
        // A product that was connected before its name was reserved for the system.
        let (product, account) = ("concord".parse().unwrap(), "main".parse().unwrap());
        let recipient = Recipient { practice: None, product: &product, account: &account };
        let rollover = ChangeAttributes { author: Author::stored("concord", "main"), ..change() };
        assert_eq!(filter().verdict(recipient, &rollover), Verdict::Sent);
    }
}
