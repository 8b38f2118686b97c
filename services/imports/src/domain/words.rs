//! The kinds, statuses, states and phases, and the words they are kept by.

use std::{fmt, str::FromStr};

use shared::pb::imports::ImportRecordKind;

/// A word in a table that is none of those that the column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub(crate) struct UnknownWord(&'static str);

/// An enum whose values are kept as words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().find(|word| word.as_str() == text).copied().ok_or(UnknownWord($what))
            }
        }
    };
}

words! {
    /// The kind of a record, in the order in which failures are listed.
    Kind: "kind of record" {
        Client = "client",
        Contact = "contact",
        Address = "address",
        /// The record could not be read.
        Unknown = "unknown",
    }
}

/// The kind that a message names.
pub(crate) fn kind_of(kind: ImportRecordKind) -> Kind {
    match kind {
        ImportRecordKind::Client => Kind::Client,
        ImportRecordKind::Contact => Kind::Contact,
        ImportRecordKind::Address => Kind::Address,
        ImportRecordKind::Unspecified => Kind::Unknown,
    }
}

/// The name of a kind in a message.
pub(crate) fn wire_kind(kind: Kind) -> ImportRecordKind {
    match kind {
        Kind::Client => ImportRecordKind::Client,
        Kind::Contact => ImportRecordKind::Contact,
        Kind::Address => ImportRecordKind::Address,
        Kind::Unknown => ImportRecordKind::Unspecified,
    }
}

words! {
    /// How a record ended, or how far it has come.
    Status: "status of a record" {
        /// Not looked at yet.
        Staged = "STAGED",
        /// No rule broken so far.
        Ready = "READY",
        Imported = "IMPORTED",
        Linked = "LINKED",
        Skipped = "SKIPPED",
        Excluded = "EXCLUDED",
        Failed = "FAILED",
        /// Its parent failed.
        Blocked = "BLOCKED",
        /// The import was cancelled before its turn came.
        Unprocessed = "UNPROCESSED",
        /// A corrected record stands in for it; it is counted no longer.
        Replaced = "REPLACED",
    }
}

words! {
    /// How much a finding matters, in the order in which findings are listed.
    Severity: "severity" {
        /// The record is not taken.
        Error = "ERROR",
        /// The record is taken all the same.
        Warning = "WARNING",
    }
}

words! {
    /// Where an import is in its life.
    State: "state of an import" {
        Receiving = "RECEIVING",
        Sealed = "SEALED",
        Resolving = "RESOLVING",
        Applying = "APPLYING",
        Completed = "COMPLETED",
        CompletedWithFailures = "COMPLETED_WITH_FAILURES",
        Stalled = "STALLED",
        Validated = "VALIDATED",
        Cancelled = "CANCELLED",
        Expired = "EXPIRED",
        /// Ended by an unexpected error.
        FailedInternally = "FAILED_INTERNALLY",
    }
}

impl State {
    /// Whether nothing will happen to the import any more.
    pub(crate) fn is_end(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::CompletedWithFailures
                | Self::Validated
                | Self::Cancelled
                | Self::Expired
                | Self::FailedInternally
        )
    }
}

words! {
    /// One pass of the worker over the records, in order.
    Phase: "phase of an import" {
        /// Forgets what was found of the records that are processed again.
        Reset = "reset",
        /// Reads every record and judges it alone.
        Index = "index",
        /// Lets corrected records stand in for those that failed.
        Replace = "replace",
        /// Judges the records that share a key; asks which keys are known.
        Keys = "keys",
        /// Judges the clients that share a reference.
        References = "references",
        /// Judges the addresses of each owner and type.
        Periods = "periods",
        /// Asks for the parents that the import does not hold.
        Parents = "parents",
        /// Applies the clients.
        Clients = "clients",
        /// Applies the contacts.
        Contacts = "contacts",
        /// Applies the addresses.
        Addresses = "addresses",
    }
}

impl Phase {
    /// The one after it; `None` after the last.
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Reset => Some(Self::Index),
            Self::Index => Some(Self::Replace),
            Self::Replace => Some(Self::Keys),
            Self::Keys => Some(Self::References),
            Self::References => Some(Self::Periods),
            Self::Periods => Some(Self::Parents),
            Self::Parents => Some(Self::Clients),
            Self::Clients => Some(Self::Contacts),
            Self::Contacts => Some(Self::Addresses),
            Self::Addresses => None,
        }
    }

    /// The state of an import in this phase.
    pub(crate) fn state(self) -> State {
        match self {
            Self::Clients | Self::Contacts | Self::Addresses => State::Applying,
            Self::Reset
            | Self::Index
            | Self::Replace
            | Self::Keys
            | Self::References
            | Self::Periods
            | Self::Parents => State::Resolving,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        assert!(Kind::ALL.iter().all(|word| word.as_str().parse() == Ok(*word)));
        assert!(Status::ALL.iter().all(|word| word.as_str().parse() == Ok(*word)));
        assert!(Severity::ALL.iter().all(|word| word.as_str().parse() == Ok(*word)));
        assert!(State::ALL.iter().all(|word| word.as_str().parse() == Ok(*word)));
        assert!(Phase::ALL.iter().all(|word| word.as_str().parse() == Ok(*word)));
        assert!("IMPORTING".parse::<Status>().is_err());
    }

    #[test]
    fn the_phases_follow_each_other_to_the_end() {
        let all = std::iter::successors(Some(Phase::Reset), |phase| phase.next());
        assert_eq!(all.collect::<Vec<_>>(), Phase::ALL);
    }
}
