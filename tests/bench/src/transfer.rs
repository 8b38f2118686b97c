//! The import of a practice: generated records; the upload, as a product does it; and the
//! two services, each in a separate process.

mod batches;
mod follow;
mod pair;
mod practice;

pub(crate) use batches::Batch;
pub(crate) use follow::Followed;
pub(crate) use pair::Pair;
pub(crate) use practice::Practice;
