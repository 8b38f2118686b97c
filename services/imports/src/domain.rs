//! The rules of an import: pure, so that they can be tried on any input.
//!
//! No clock, no database, no gRPC in here. The words that rows and messages
//! share are in [`words`].

pub(crate) mod batch;
pub(crate) mod duplicate;
pub(crate) mod finding;
pub(crate) mod import;
pub(crate) mod parents;
pub(crate) mod periods;
pub(crate) mod progress;
pub(crate) mod tally;
pub(crate) mod verdict;
pub(crate) mod words;
