//! Yardsticks: the least work that could give the same response.

pub(crate) mod bare;
pub(crate) mod commits;
pub(crate) mod echo;
pub(crate) mod flush;
pub(crate) mod pgbench;
pub(crate) mod refill;
pub(crate) mod streaming;
