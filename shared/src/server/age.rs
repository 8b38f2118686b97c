//! Connections that know how old they may become.
//!
//! The server asks the client of an old connection to make another one (GOAWAY), and
//! cuts it a while after. A stream that goes on for ever must end before that, by
//! itself, with a last word.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Extensions;

use super::connections::StreamContext;
use crate::ids;

/// How long after the GOAWAY a connection is cut.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Streams end in the first part of that, spread out, so that their clients do not
/// all come back at once.
const SPREAD: Duration = Duration::from_secs(20);

/// A random part of a time, so that what is due does not come all at once.
pub(super) fn random_part(time: Duration) -> Duration {
    let random = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    time * u32::from(random) / 256
}

/// When the streams of a connection end.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionAge {
    ends_at: Option<Instant>,
}

impl ConnectionAge {
    pub(super) fn of_new(age: Option<Duration>) -> Self {
        let end = |age: Duration| age + random_part(SPREAD.min(age / 10));
        Self { ends_at: age.and_then(|age| Instant::now().checked_add(end(age))) }
    }

    /// When a stream must have ended that was asked for with these extensions;
    /// none when its connection may become any age.
    pub fn ends_at(extensions: &Extensions) -> Option<Instant> {
        extensions.get::<StreamContext>().and_then(|context| context.age.ends_at)
    }
}
