//! The records as a reader holds them.

use super::{
    connects::Trusted,
    rows::{Change, RECORDS, Version},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) versions: [Version; RECORDS],
    /// What was trusted when it began.
    pub(super) trusted: Trusted,
}

impl Held {
    pub(super) fn new(trusted: Trusted) -> Self {
        Self { versions: [0; RECORDS], trusted }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let held = &mut self.versions[change.record];
        *held = change.version.max(*held);
    }
}
