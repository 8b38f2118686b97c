//! A practice that is brought over: its records, made as they are needed; the
//! upload, as a product does it; and the two services, each in a process of its
//! own.

mod batches;
mod follow;
mod pair;
mod practice;

pub(crate) use batches::Batch;
pub(crate) use follow::Followed;
pub(crate) use pair::Pair;
pub(crate) use practice::Practice;
