//! Calls to the services: connections with the identity of the caller, errors as messages for the
//! user, retries, and the change feed.

mod call_error;
mod feed;
mod retry;
mod service_client;

pub(crate) use call_error::CallError;
pub(crate) use feed::{Feed, FeedUpdate};
pub(crate) use retry::{Backoff, RetryObserver, with_retries};
pub(crate) use service_client::ServiceClient;
