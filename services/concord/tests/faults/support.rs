//! Helpers that are shared with `tests/it`.

#[path = "../../../../tests/it/support/caller.rs"]
pub(crate) mod caller;
#[path = "../../../../tests/it/support/failure.rs"]
pub(crate) mod failure;
#[path = "../../../../tests/it/support/feed.rs"]
pub(crate) mod feed;
#[path = "../../../../tests/it/support/follower.rs"]
pub(crate) mod follower;
#[path = "../../../../tests/it/support/http2.rs"]
pub(crate) mod http2;
#[path = "../../../../tests/it/support/records.rs"]
pub(crate) mod records;
#[path = "../../../../tests/it/support/rng.rs"]
pub(crate) mod rng;
#[path = "../../../../tests/it/support/sample.rs"]
pub(crate) mod sample;
#[path = "../../../../tests/it/support/servers.rs"]
pub(crate) mod servers;
#[path = "../../../../tests/it/support/writing.rs"]
pub(crate) mod writing;
