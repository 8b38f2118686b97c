//! Cursors, as `feed::cursor` creates and checks them. The signature is modelled by the
//! signed values: no actor can forge a cursor.

use super::rows::{ChangeId, Feed, Position, Product};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) product: Product,
    pub(super) epoch: u32,
    pub(super) position: Position,
    /// The change at the position.
    pub(super) change: Option<ChangeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorError {
    Foreign,
    TooNew,
    TooOld,
}

/// Checks that the feed can be resumed after this cursor. `change_at` is the current
/// change at its position.
pub(super) fn check(
    cursor: &Cursor,
    feed: &Feed,
    change_at: Option<ChangeId>,
) -> Result<(), CursorError> {
    if cursor.epoch != feed.epoch {
        Err(CursorError::Foreign)
    } else if cursor.position > feed.head {
        Err(CursorError::TooNew)
    } else if cursor.position + 1 < feed.floor {
        Err(CursorError::TooOld)
    } else if cursor.product == feed.product && cursor.change == change_at {
        Ok(())
    } else {
        Err(CursorError::Foreign)
    }
}
