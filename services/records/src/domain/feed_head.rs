//! The state of a product's feed.

use std::fmt;

use uuid::Uuid;

/// The first and the last position of a product's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedEnds {
    /// The newest position; 0 if the feed is empty.
    pub(crate) head: i64,
    /// The oldest position that is retained; `head + 1` if none is.
    pub(crate) floor: i64,
    /// The change at the position before `floor`, which was purged; `None` if nothing was
    /// purged.
    pub(crate) floor_change: Option<Uuid>,
}

/// The state of a product's feed, with the change at one of its positions.
#[derive(Clone)]
pub(crate) struct FeedHead {
    /// The epoch: unique for each database, and renewed after a restore. Detects cursors
    /// of another database.
    pub(crate) epoch: Uuid,
    /// The key that signs cursors.
    pub(crate) secret: Vec<u8>,
    pub(crate) ends: FeedEnds,
    pub(crate) position: i64,
    /// The change at the position; `None` if it is unknown.
    pub(crate) change: Option<Uuid>,
}

impl FeedHead {
    /// True if the feed has `change` at the position, and retains what follows.
    pub(crate) fn has(&self, change: Option<Uuid>) -> bool {
        (self.ends.floor - 1..=self.ends.head).contains(&self.position) && self.change == change
    }
}

impl fmt::Debug for FeedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedHead").field("ends", &self.ends).finish_non_exhaustive()
    }
}
