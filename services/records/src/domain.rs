//! The domain model: records, timelines, links, changes.
//!
//! Contains values that passed the rules of [`concord_core::rules`], and the rules of
//! timelines. Depends on no gRPC, no database and no clock.

pub(crate) mod change;
pub(crate) mod feed_head;
pub(crate) mod filter;
pub(crate) mod link;
pub(crate) mod record;
pub(crate) mod resume_point;
pub(crate) mod search;
pub(crate) mod subscription;
pub(crate) mod timeline;
pub(crate) mod window;
