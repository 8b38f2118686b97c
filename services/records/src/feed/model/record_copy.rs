//! A reader's copy of the records.

use super::{
    connect_log::Trusted,
    rows::{Change, RECORDS, Version},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct RecordCopy {
    pub(super) versions: [Version; RECORDS],
    /// What the product could trust when the reader started.
    pub(super) trusted: Trusted,
}

impl RecordCopy {
    pub(super) fn new(trusted: Trusted) -> Self {
        Self { versions: [0; RECORDS], trusted }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let version = &mut self.versions[change.record];
        *version = change.version.max(*version);
    }
}
