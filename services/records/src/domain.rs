//! What the records service is about: records, timelines, links, changes.
//!
//! Values that have passed the rules of [`shared::rules`], and the rules of
//! timelines. No gRPC, no database and no clock in here.

pub(crate) mod change;
pub(crate) mod filter;
pub(crate) mod link;
pub(crate) mod moment;
pub(crate) mod place;
pub(crate) mod record;
pub(crate) mod search;
pub(crate) mod subscription;
pub(crate) mod timeline;
pub(crate) mod window;
