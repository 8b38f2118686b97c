//! The keys of timelines.

use std::{fmt, str::FromStr};

use concord_core::rules::{terms::Term as _, value::Value};
use concord_proto::pb::records::AddressType;

/// The key of a timeline of a record. Timelines are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimelineKey {
    RegisteredName,
    TradingName,
    PersonName,
    Address(AddressType),
}

const ADDRESS_PREFIX: &str = "ADDRESS/";

impl TimelineKey {
    /// True if each entry ends where the next one begins, and the last one has no end: a
    /// company and a person always have a name. Such a timeline is never empty. All other
    /// timelines may have gaps.
    pub(super) fn is_contiguous(self) -> bool {
        match self {
            Self::RegisteredName | Self::PersonName => true,
            Self::TradingName | Self::Address(_) => false,
        }
    }

    /// True if `value` is of the kind of this timeline.
    pub(super) fn accepts(self, value: &Value) -> bool {
        match self {
            Self::RegisteredName | Self::TradingName => matches!(value, Value::Name(_)),
            Self::PersonName => matches!(value, Value::PersonName(_)),
            Self::Address(_) => matches!(value, Value::Address(_)),
        }
    }
}

impl fmt::Display for TimelineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RegisteredName => f.write_str("REGISTERED_NAME"),
            Self::TradingName => f.write_str("TRADING_NAME"),
            Self::PersonName => f.write_str("PERSON_NAME"),
            Self::Address(kind) => write!(f, "{ADDRESS_PREFIX}{}", kind.name()),
        }
    }
}

/// The text is no [`TimelineKey`].
#[derive(Debug, thiserror::Error)]
#[error("not a timeline")]
pub(crate) struct UnknownTimeline;

impl FromStr for TimelineKey {
    type Err = UnknownTimeline;

    fn from_str(text: &str) -> Result<Self, UnknownTimeline> {
        match text {
            "REGISTERED_NAME" => Ok(Self::RegisteredName),
            "TRADING_NAME" => Ok(Self::TradingName),
            "PERSON_NAME" => Ok(Self::PersonName),
            _ => text
                .strip_prefix(ADDRESS_PREFIX)
                .and_then(|name| AddressType::parse(name).ok().flatten())
                .map(Self::Address)
                .ok_or(UnknownTimeline),
        }
    }
}
