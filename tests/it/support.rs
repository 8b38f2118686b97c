//! Helpers that the end-to-end tests share.

pub(crate) mod caller;
pub(crate) mod every_call;
pub(crate) mod failure;
pub(crate) mod feed;
pub(crate) mod follower;
pub(crate) mod http2;
pub(crate) mod pair;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod records;
pub(crate) mod rng;
pub(crate) mod sample;
pub(crate) mod secure;
pub(crate) mod servers;
pub(crate) mod texts;
pub(crate) mod writing;
