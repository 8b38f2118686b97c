//! The rules of an import, as pure functions: no clock, no database, no gRPC.
//!
//! The enums that are stored in rows and sent in messages are in [`enums`].

pub(crate) mod batch;
pub(crate) mod counters;
pub(crate) mod duplicate;
pub(crate) mod enums;
pub(crate) mod failure;
pub(crate) mod import;
pub(crate) mod issue;
pub(crate) mod issue_ordinal;
pub(crate) mod parents;
pub(crate) mod periods;
pub(crate) mod progress;
pub(crate) mod verdict;
