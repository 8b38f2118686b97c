//! Connections that know how old they may become.
//!
//! The transport asks the client of an old connection to make another one, and
//! cuts it a while after. A stream that goes on for ever must end before that, by
//! itself, with a last word.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tonic::{Extensions, transport::server::Connected};

use super::connections::Placed;
use crate::ids;

/// How long after the age the transport cuts a connection.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Streams end in the first part of that, spread out, so that their clients do not
/// all come back at once.
const SPREAD: Duration = Duration::from_secs(20);

/// When the streams of a connection end.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionAge {
    ends_at: Option<Instant>,
}

impl ConnectionAge {
    fn of_new(age: Option<Duration>) -> Self {
        let random = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
        let spread = |age: Duration| SPREAD.min(age / 10) * u32::from(random) / 256;
        Self { ends_at: age.and_then(|age| Instant::now().checked_add(age + spread(age))) }
    }

    /// When a stream must have ended that was asked for with these extensions;
    /// none when its connection may become any age.
    pub fn ends_at(extensions: &Extensions) -> Option<Instant> {
        extensions.get::<Self>().and_then(|age| age.ends_at)
    }
}

/// A connection with its age.
#[derive(Debug)]
pub(super) struct Aging {
    connection: Placed,
    age: ConnectionAge,
}

impl Aging {
    pub(super) fn new(connection: Placed, age: Option<Duration>) -> Self {
        Self { connection, age: ConnectionAge::of_new(age) }
    }
}

impl Connected for Aging {
    type ConnectInfo = ConnectionAge;

    fn connect_info(&self) -> ConnectionAge {
        self.age
    }
}

impl AsyncRead for Aging {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for Aging {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
