//! The enums of the service and their stored strings: kinds, statuses, severities,
//! states and phases.

use std::{fmt, str::FromStr};

use concord_proto::pb::imports::ImportRecordKind;

/// A stored string is not a value of its enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub(crate) struct UnknownValue(&'static str);

/// Defines an enum whose values are stored as strings.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident: $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// All values, in order.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stored string.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownValue;

            fn from_str(text: &str) -> Result<Self, UnknownValue> {
                let value = Self::ALL.iter().find(|value| value.as_str() == text);
                value.copied().ok_or(UnknownValue($what))
            }
        }
    };
}

string_enum! {
    /// The kind of a record, in the order in which failures are listed.
    Kind: "kind of record" {
        Client = "client",
        Contact = "contact",
        Address = "address",
        /// The record could not be decoded.
        Unknown = "unknown",
    }
}

/// Converts a kind from its message enum.
pub(crate) fn kind_of(kind: ImportRecordKind) -> Kind {
    match kind {
        ImportRecordKind::Client => Kind::Client,
        ImportRecordKind::Contact => Kind::Contact,
        ImportRecordKind::Address => Kind::Address,
        ImportRecordKind::Unspecified => Kind::Unknown,
    }
}

/// Converts a kind to its message enum.
pub(crate) fn wire_kind(kind: Kind) -> ImportRecordKind {
    match kind {
        Kind::Client => ImportRecordKind::Client,
        Kind::Contact => ImportRecordKind::Contact,
        Kind::Address => ImportRecordKind::Address,
        Kind::Unknown => ImportRecordKind::Unspecified,
    }
}

string_enum! {
    /// The status of a record: its verdict, or its progress towards one.
    Status: "status of a record" {
        /// Uploaded, not read yet.
        Staged = "STAGED",
        /// Read, without a violation so far.
        Ready = "READY",
        Imported = "IMPORTED",
        Linked = "LINKED",
        Skipped = "SKIPPED",
        Excluded = "EXCLUDED",
        Failed = "FAILED",
        /// A parent of the record failed.
        Blocked = "BLOCKED",
        /// The import ended before the record was processed.
        Unprocessed = "UNPROCESSED",
        /// A corrected record replaces it; it is no longer counted.
        Replaced = "REPLACED",
    }
}

string_enum! {
    /// The severity of an issue, in the order in which issues are listed.
    Severity: "severity" {
        /// The record is rejected.
        Error = "ERROR",
        /// The record is accepted.
        Warning = "WARNING",
    }
}

string_enum! {
    /// The lifecycle state of an import.
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
    /// Whether the state is terminal: no worker will process the import, unless a call
    /// starts another round.
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

string_enum! {
    /// A phase of the worker: one pass over the records. The phases run in this order.
    Phase: "phase of an import" {
        /// Removes the results of the records that are processed again.
        Reset = "reset",
        /// Reads every record and validates it by itself.
        Index = "index",
        /// Matches corrected records with the failed records that they replace.
        Replace = "replace",
        /// Checks records that share a key, and resolves the keys that are already
        /// linked.
        Keys = "keys",
        /// Checks clients that share a reference.
        References = "references",
        /// Checks the periods of the addresses of each owner and type.
        Periods = "periods",
        /// Resolves parents that are not in the import.
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
    /// The next phase; `None` after the last.
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

    /// The state of an import that is in this phase.
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
    fn every_value_round_trips() {
        assert!(Kind::ALL.iter().all(|value| value.as_str().parse() == Ok(*value)));
        assert!(Status::ALL.iter().all(|value| value.as_str().parse() == Ok(*value)));
        assert!(Severity::ALL.iter().all(|value| value.as_str().parse() == Ok(*value)));
        assert!(State::ALL.iter().all(|value| value.as_str().parse() == Ok(*value)));
        assert!(Phase::ALL.iter().all(|value| value.as_str().parse() == Ok(*value)));
        assert!("IMPORTING".parse::<Status>().is_err());
    }

    #[test]
    fn phases_are_in_order() {
        let all = std::iter::successors(Some(Phase::Reset), |phase| phase.next());
        assert_eq!(all.collect::<Vec<_>>(), Phase::ALL);
    }
}
