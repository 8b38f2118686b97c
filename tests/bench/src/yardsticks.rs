//! The least work that could give the same answer.

pub(crate) mod commits;
pub(crate) mod echo;
pub(crate) mod pgbench;
pub(crate) mod streaming;
