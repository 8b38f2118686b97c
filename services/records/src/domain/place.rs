//! Places in a feed: after a position, or in the middle of a snapshot.

use serde::{Deserialize, Serialize};
use shared::pb::records::RecordKind;
use uuid::Uuid;

/// How far a snapshot has come: the record that was sent last. Records are sent
/// in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Walk {
    pub(crate) practice: String,
    pub(crate) stage: Stage,
    pub(crate) id: Uuid,
}

impl Walk {
    /// Before the first record.
    pub(crate) fn beginning() -> Self {
        Self { practice: String::new(), stage: Stage::Persons, id: Uuid::nil() }
    }
}

/// The kinds of record, in the order in which a snapshot sends those of a
/// practice: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    Persons,
    Clients,
    Contacts,
}

impl Stage {
    pub(crate) const ALL: [Self; 3] = [Self::Persons, Self::Clients, Self::Contacts];

    pub(crate) fn record_kind(self) -> RecordKind {
        match self {
            Self::Persons => RecordKind::Person,
            Self::Clients => RecordKind::Client,
            Self::Contacts => RecordKind::Contact,
        }
    }

    /// As it is kept, in cursors and tables.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Persons => 1,
            Self::Clients => 2,
            Self::Contacts => 3,
        }
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.number() == number)
    }
}

/// A place in a feed: after a position, or in the middle of a snapshot that the
/// changes after that position follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: i64,
    pub(crate) walk: Option<Walk>,
}

impl Place {
    pub(crate) fn after(position: i64) -> Self {
        Self { position, walk: None }
    }

    /// Whether a reader that was at `other` has come further here. One place of
    /// a snapshot is behind its end, and two snapshots cannot be compared: the
    /// later one counts.
    pub(crate) fn is_beyond(&self, other: &Self) -> bool {
        match (&self.walk, &other.walk) {
            (None, Some(_)) => self.position >= other.position,
            (Some(walk), Some(other_walk)) => (self.position, walk) > (other.position, other_walk),
            (_, None) => self.position > other.position,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any place.
    pub(crate) fn places() -> impl Strategy<Value = Place> {
        let walk =
            ("[a-z0-9._-]{0,64}", 0_usize..3, any::<u128>()).prop_map(|(practice, n, id)| Walk {
                practice,
                stage: Stage::ALL[n],
                id: Uuid::from_u128(id),
            });
        (0_i64.., proptest::option::of(walk)).prop_map(|(position, walk)| Place { position, walk })
    }

    proptest! {
        #[test]
        fn of_two_places_at_most_one_is_beyond(one in places(), other in places()) {
            prop_assert!(!(one.is_beyond(&other) && other.is_beyond(&one)));
            prop_assert!(!one.is_beyond(&one));
        }

        #[test]
        fn the_end_of_a_snapshot_is_beyond_all_of_it(place in places()) {
            prop_assert!(place.walk.is_none() || Place::after(place.position).is_beyond(&place));
        }
    }
}
