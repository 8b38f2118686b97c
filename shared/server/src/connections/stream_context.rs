//! The maximum age of a connection.
//!
//! At that age the server sends GOAWAY, and closes the connection after [`GRACE`]. An
//! unbounded stream must end before that with a message that says why.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Extensions;

use super::connections::StreamContext;
use concord_core::ids;

/// The time between GOAWAY and the close of the connection.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Streams end at a random time within this part of [`GRACE`] (jitter), so that clients
/// do not reconnect at the same time.
const SPREAD: Duration = Duration::from_secs(20);

/// A random part of `time`, as jitter.
pub(super) fn random_part(time: Duration) -> Duration {
    let random = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    time * u32::from(random) / 256
}

/// When the streams of a connection must end.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionAge {
    ends_at: Option<Instant>,
}

impl ConnectionAge {
    pub(super) fn of_new(age: Option<Duration>) -> Self {
        let end = |age: Duration| age + random_part(SPREAD.min(age / 10));
        Self { ends_at: age.and_then(|age| Instant::now().checked_add(end(age))) }
    }

    /// When the stream of the request with these extensions must have ended; `None` if
    /// the age of its connection is unlimited.
    pub fn ends_at(extensions: &Extensions) -> Option<Instant> {
        extensions.get::<StreamContext>().and_then(|context| context.age.ends_at)
    }
}
