//! What a stream leaves out, and why.

use shared::{
    caller::{Account, Author, PracticeId, Product},
    pb::records::{EchoMode, RecordKind},
};

/// What a stream leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// What becomes of the product's own changes.
    pub(crate) echo: EchoMode,
    /// All kinds of record when it is empty.
    pub(crate) kinds: Vec<RecordKind>,
    pub(crate) linked_only: bool,
    /// All practices that the hearer may hear when it is empty.
    pub(crate) practices: Vec<PracticeId>,
}

/// Who hears a feed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearer<'a> {
    /// All practices of the product when there is none.
    pub(crate) practice: Option<&'a PracticeId>,
    pub(crate) product: &'a Product,
    pub(crate) account: &'a Account,
}

/// What a filter looks at in a change.
#[derive(Clone, Debug)]
pub(crate) struct Audible<'a> {
    pub(crate) practice: &'a str,
    /// Of its record and of those whose images go with it.
    pub(crate) kinds: Vec<RecordKind>,
    /// Whether the product was linked to the record.
    pub(crate) linked: bool,
    pub(crate) author: Author<'a>,
}

/// What becomes of a change in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Sent,
    /// It is the hearer's own, and own ones are left out.
    Suppressed,
    /// It is not of a practice that was asked for.
    OtherPractice,
    /// It is not of a kind that was asked for.
    OtherKind,
    /// The product was not linked to the record.
    NotLinked,
}

impl Audible<'_> {
    /// Whether it was made by the same account of the same product. False for changes
    /// that the system made.
    pub(crate) fn is_own(&self, hearer: Hearer<'_>) -> bool {
        match self.author {
            Author::System => false,
            Author::Account { product, account } => {
                product == hearer.product.as_str() && account == hearer.account.as_str()
            }
        }
    }
}

impl Filter {
    /// What becomes of a change.
    pub(crate) fn verdict(&self, hearer: Hearer<'_>, change: &Audible<'_>) -> Verdict {
        if hearer.practice.is_some_and(|practice| practice.as_str() != change.practice)
            || !self.wants_practice(change.practice)
        {
            Verdict::OtherPractice
        } else if !self.kinds.is_empty() && !change.kinds.iter().any(|k| self.kinds.contains(k)) {
            Verdict::OtherKind
        } else if self.linked_only && !change.linked {
            Verdict::NotLinked
        } else if self.echo == EchoMode::Suppress && change.is_own(hearer) {
            Verdict::Suppressed
        } else {
            Verdict::Sent
        }
    }

    /// The practices that are asked for, each once; none for all that there are.
    pub(crate) fn practices(&self) -> Vec<PracticeId> {
        let mut practices = self.practices.clone();
        practices.sort_unstable();
        practices.dedup();
        practices
    }

    /// Whether changes of a practice are asked for.
    pub(crate) fn wants_practice(&self, practice: &str) -> bool {
        self.practices.is_empty() || self.practices.iter().any(|one| one.as_str() == practice)
    }

    /// Whether records of a kind are asked for.
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

    fn change() -> Audible<'static> {
        Audible {
            practice: "p1",
            kinds: vec![RecordKind::Contact, RecordKind::Person],
            linked: false,
            author: Author::Account { product: "books", account: "main" },
        }
    }

    fn verdict(filter: &Filter, practice: Option<&str>, product: &str) -> Verdict {
        let practice = practice.map(|practice| practice.parse().unwrap());
        let (product, account) = (product.parse().unwrap(), "main".parse().unwrap());
        let hearer = Hearer { practice: practice.as_ref(), product: &product, account: &account };
        filter.verdict(hearer, &change())
    }

    #[test]
    fn a_practice_hears_itself_and_a_product_hears_all() {
        assert_eq!(verdict(&filter(), Some("p1"), "ap"), Verdict::Sent);
        assert_eq!(verdict(&filter(), Some("p2"), "ap"), Verdict::OtherPractice);
        assert_eq!(verdict(&filter(), None, "ap"), Verdict::Sent);
        let narrowed = Filter { practices: vec!["p2".parse().unwrap()], ..filter() };
        assert_eq!(verdict(&narrowed, None, "ap"), Verdict::OtherPractice);
    }

    #[test]
    fn a_change_passes_for_the_records_that_come_with_it() {
        let kinds = |kind| Filter { kinds: vec![kind], ..filter() };
        assert_eq!(verdict(&kinds(RecordKind::Person), None, "ap"), Verdict::Sent);
        assert_eq!(verdict(&kinds(RecordKind::Client), None, "ap"), Verdict::OtherKind);
    }

    #[test]
    fn own_changes_and_records_of_others_are_left_out_when_asked_for() {
        assert_eq!(verdict(&filter(), None, "books"), Verdict::Suppressed);
        let marked = Filter { echo: EchoMode::Mark, ..filter() };
        assert_eq!(verdict(&marked, None, "books"), Verdict::Sent);
        let linked = Filter { linked_only: true, ..filter() };
        assert_eq!(verdict(&linked, None, "ap"), Verdict::NotLinked);
    }

    #[test]
    fn what_the_system_did_is_nobodys_own() {
        // A product that was connected under its name before the name was reserved.
        let (product, account) = ("concord".parse().unwrap(), "main".parse().unwrap());
        let hearer = Hearer { practice: None, product: &product, account: &account };
        let midnight = Audible { author: Author::stored("concord", "main"), ..change() };
        assert_eq!(filter().verdict(hearer, &midnight), Verdict::Sent);
    }
}
