//! What a request knows of its connection and its stream: the age, the network and the
//! certificates of the connection, and the deadline of the stream.
//!
//! At its maximum age the server sends GOAWAY to a connection, and closes it after
//! [`GRACE`]. An unbounded stream must end before that with a message that says why.

use std::{sync::Arc, time::Duration};

use http::Extensions;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::streams::StreamDeadline;
use crate::quota::ClientNetwork;
use concord_core::ids;

/// The time between GOAWAY and the close of the connection.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Streams end at a random time within this part of [`GRACE`] (jitter), so that clients
/// do not reconnect at the same time.
const SPREAD: Duration = Duration::from_secs(20);

/// A random part of `time`, as jitter.
pub(crate) fn random_part(time: Duration) -> Duration {
    time * u32::from(ids::random_byte()) / 256
}

/// When the streams of a connection must end.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionAge {
    ends_at: Option<Instant>,
}

impl ConnectionAge {
    /// The age of a connection that opens now, whose maximum age is `age`.
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

/// The context of a request: its connection and its stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamContext {
    pub(super) age: ConnectionAge,
    /// The network of the client; unknown behind a proxy that does not name its clients.
    pub(crate) network: Option<ClientNetwork>,
    pub(super) certificates: Option<ClientCertificates>,
    pub(crate) deadline: StreamDeadline,
}

/// The certificate chain that the client has presented, its own certificate first. TLS has
/// verified it.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificates(Arc<[CertificateDer<'static>]>);

impl From<&[CertificateDer<'static>]> for ClientCertificates {
    fn from(certificates: &[CertificateDer<'static>]) -> Self {
        Self(certificates.into())
    }
}

impl ClientCertificates {
    /// The client's own certificate, in DER form; `None` if the client has presented none.
    pub(crate) fn own(extensions: &Extensions) -> Option<&[u8]> {
        let context = extensions.get::<StreamContext>()?;
        context.certificates.as_ref()?.0.first().map(AsRef::as_ref)
    }
}
