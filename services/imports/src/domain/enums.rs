//! The enums of the service and their stored strings: kinds, statuses, severities,
//! states and phases.

use concord_proto::pb::imports::ImportRecordKind;
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// Adds `ALL` and `as_str` to the enums, from what strum derives.
macro_rules! stored {
    ($($name:ident),+) => { $(
        impl $name {
            /// All values, in order.
            pub(crate) const ALL: &'static [Self] = Self::VARIANTS;

            /// The stored string.
            pub(crate) fn as_str(self) -> &'static str {
                self.into()
            }
        }
    )+ };
}

stored!(Kind, Status, Severity, State);

/// The kind of a record, in the order in which failures are listed.
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Client,
    Contact,
    Address,
    /// The record could not be decoded.
    Unknown,
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

/// The status of a record: its verdict, or its progress towards one.
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Status {
    /// Uploaded, not read yet.
    Staged,
    /// Read, without a violation so far.
    Ready,
    Imported,
    Linked,
    Skipped,
    Excluded,
    Failed,
    /// A parent of the record failed.
    Blocked,
    /// The import ended before the record was processed.
    Unprocessed,
    /// A corrected record replaces it; it is no longer counted.
    Replaced,
}

/// The severity of an issue, in the order in which issues are listed.
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Severity {
    /// The record is rejected.
    Error,
    /// The record is accepted.
    Warning,
}

/// The lifecycle state of an import.
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    Receiving,
    Sealed,
    Resolving,
    Applying,
    Completed,
    CompletedWithFailures,
    Stalled,
    Validated,
    Cancelled,
    Expired,
    /// Ended by an unexpected error.
    FailedInternally,
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

/// A phase of the worker: one pass over the records. The phases run in this order.
#[derive(Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    /// Removes the results of the records that are processed again.
    Reset,
    /// Reads every record and validates it by itself.
    Index,
    /// Matches corrected records with the failed records that they replace.
    Replace,
    /// Checks records that share a key, and resolves the keys that are already
    /// linked.
    Keys,
    /// Checks clients that share a reference.
    References,
    /// Checks the periods of the addresses of each owner and type.
    Periods,
    /// Resolves parents that are not in the import.
    Parents,
    /// Applies the clients.
    Clients,
    /// Applies the contacts.
    Contacts,
    /// Applies the addresses.
    Addresses,
}

impl Phase {
    /// The stored string.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

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
        assert!(Phase::VARIANTS.iter().all(|value| value.as_str().parse() == Ok(*value)));
        assert!("IMPORTING".parse::<Status>().is_err());
    }

    /// The strings are in databases.
    #[test]
    fn stored_strings_are_fixed() {
        fn strings<T: Copy + Into<&'static str>>(all: &[T]) -> String {
            all.iter().copied().map(Into::into).collect::<Vec<&str>>().join(" ")
        }
        assert_eq!(strings(Kind::ALL), "client contact address unknown");
        assert_eq!(
            strings(Status::ALL),
            "STAGED READY IMPORTED LINKED SKIPPED EXCLUDED FAILED BLOCKED UNPROCESSED REPLACED"
        );
        assert_eq!(strings(Severity::ALL), "ERROR WARNING");
        assert_eq!(
            strings(State::ALL),
            "RECEIVING SEALED RESOLVING APPLYING COMPLETED COMPLETED_WITH_FAILURES STALLED \
             VALIDATED CANCELLED EXPIRED FAILED_INTERNALLY"
        );
        assert_eq!(
            strings(Phase::VARIANTS),
            "reset index replace keys references periods parents clients contacts addresses"
        );
    }

    #[test]
    fn phases_are_in_order() {
        let all = std::iter::successors(Some(Phase::Reset), |phase| phase.next());
        assert_eq!(all.collect::<Vec<_>>(), Phase::VARIANTS);
    }
}
