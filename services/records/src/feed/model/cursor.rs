//! Cursors, as `feed::cursor` makes and checks them. Its seal is modelled by
//! what it seals: a cursor cannot be made up.

use super::rows::{ChangeId, Feed, Position, Product};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) product: Product,
    pub(super) epoch: u32,
    pub(super) position: Position,
    /// The change that stood there.
    pub(super) change: Option<ChangeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Foreign,
    TooNew,
    TooOld,
}

/// Whether the feed can go on after this cursor. `change_at` is the change that
/// stands at its position now.
pub(super) fn check(
    cursor: &Cursor,
    feed: &Feed,
    change_at: Option<ChangeId>,
) -> Result<(), Refusal> {
    if cursor.epoch != feed.epoch {
        Err(Refusal::Foreign)
    } else if cursor.position > feed.head {
        Err(Refusal::TooNew)
    } else if cursor.position + 1 < feed.floor {
        Err(Refusal::TooOld)
    } else if cursor.product == feed.product && cursor.change == change_at {
        Ok(())
    } else {
        Err(Refusal::Foreign)
    }
}
