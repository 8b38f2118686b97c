//! Resume points of a feed: after a position, or within a snapshot.

use concord_proto::pb::records::RecordKind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A position within a snapshot: the key of the last record that was sent. Snapshots send
/// the records in this order (keyset pagination).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SnapshotPosition {
    pub(crate) practice: String,
    pub(crate) stage: SnapshotStage,
    pub(crate) id: Uuid,
}

impl SnapshotPosition {
    /// The position before the first record.
    pub(crate) fn start() -> Self {
        Self { practice: String::new(), stage: SnapshotStage::Persons, id: Uuid::nil() }
    }
}

/// The kinds of record, in the order in which a snapshot sends the records of a practice:
/// referenced records come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum SnapshotStage {
    Persons,
    Clients,
    Contacts,
}

impl SnapshotStage {
    pub(crate) const ALL: [Self; 3] = [Self::Persons, Self::Clients, Self::Contacts];

    pub(crate) fn record_kind(self) -> RecordKind {
        match self {
            Self::Persons => RecordKind::Person,
            Self::Clients => RecordKind::Client,
            Self::Contacts => RecordKind::Contact,
        }
    }

    /// The number in cursors and tables.
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

/// Where a stream resumes: after a position, or within a snapshot that is followed by the
/// changes after that position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResumePoint {
    pub(crate) position: i64,
    pub(crate) snapshot: Option<SnapshotPosition>,
}

impl ResumePoint {
    pub(crate) fn after(position: i64) -> Self {
        Self { position, snapshot: None }
    }

    /// True if this point is later than `other`. A point within a snapshot is before the
    /// end of the snapshot. Of points of two snapshots, that of the later snapshot is later.
    pub(crate) fn is_beyond(&self, other: &Self) -> bool {
        match (&self.snapshot, &other.snapshot) {
            (None, Some(_)) => self.position >= other.position,
            (Some(own), Some(theirs)) => (self.position, own) > (other.position, theirs),
            (_, None) => self.position > other.position,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any resume point.
    pub(crate) fn resume_points() -> impl Strategy<Value = ResumePoint> {
        let snapshot =
            ("[a-z0-9._-]{0,64}", 0_usize..3, any::<u128>()).prop_map(|(practice, n, id)| {
                SnapshotPosition { practice, stage: SnapshotStage::ALL[n], id: Uuid::from_u128(id) }
            });
        (0_i64.., proptest::option::of(snapshot))
            .prop_map(|(position, snapshot)| ResumePoint { position, snapshot })
    }

    proptest! {
        #[test]
        fn is_beyond_is_asymmetric(one in resume_points(), other in resume_points()) {
            prop_assert!(!(one.is_beyond(&other) && other.is_beyond(&one)));
            prop_assert!(!one.is_beyond(&one));
        }

        #[test]
        fn snapshot_end_is_beyond_each_point_of_it(point in resume_points()) {
            let end = ResumePoint::after(point.position);
            prop_assert!(point.snapshot.is_none() || end.is_beyond(&point));
        }
    }
}
