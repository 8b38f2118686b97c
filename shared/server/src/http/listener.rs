//! A listener that bounds the number of connections and the time of each.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The maximum number of open connections. A further one closes the oldest, so that idle
/// connections cannot block a probe of `/livez`.
const CONNECTIONS: usize = 16;

/// The maximum time of a connection.
const MAX_TIME: Duration = Duration::from_secs(10);

/// A listener that bounds its connections in number and in time.
#[derive(Debug)]
pub(super) struct BoundedListener {
    listener: TcpListener,
    /// The oldest first. The token of a connection that has ended is cancelled.
    open: VecDeque<CancellationToken>,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, open: VecDeque::new() }
    }
}

impl Listener for BoundedListener {
    type Io = Bounded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Bounded, SocketAddr) {
        let (connection, address) = Listener::accept(&mut self.listener).await;
        self.open.retain(|open| !open.is_cancelled());
        if self.open.len() >= CONNECTIONS
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.cancel();
        }
        let open = CancellationToken::new();
        self.open.push_back(open.clone());
        (Bounded::new(connection, open), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails at its timeout, or when a new connection replaces it.
pub(super) struct Bounded {
    connection: TcpStream,
    /// `None` after it has completed.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _open: DropGuard,
}

impl Bounded {
    fn new(connection: TcpStream, open: CancellationToken) -> Self {
        let closed = open.clone().cancelled_owned();
        let end = async {
            let _ = tokio::time::timeout(MAX_TIME, closed).await;
        };
        Self { connection, end: Some(Box::pin(end)), _open: open.drop_guard() }
    }

    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_over = self.end.as_mut().is_none_or(|end| end.as_mut().poll(context).is_ready());
        if !is_over {
            return Ok(());
        }
        self.end = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        Pin::new(&mut self.connection).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// The timeout of a test that hangs.
    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn idle_connections_do_not_block_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let alive = axum::Router::new().route("/livez", axum::routing::get(|| async { "alive" }));
        let serving = tokio::spawn(async move {
            axum::serve(BoundedListener::new(listener), alive).await.unwrap();
        });
        let mut idle = Vec::new();
        for _ in 0..40 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        // Before the idle connections time out.
        let in_time = tokio::time::timeout(MAX_TIME / 2, async {
            let mut probe = TcpStream::connect(address).await.unwrap();
            let request = b"GET /livez HTTP/1.1\r\nHost: concord\r\nConnection: close\r\n\r\n";
            probe.write_all(request).await.unwrap();
            let mut answer = String::new();
            probe.read_to_string(&mut answer).await.unwrap();
            answer
        });
        assert!(in_time.await.unwrap().ends_with("alive"));
        let mut first = idle.swap_remove(0);
        let closed = tokio::time::timeout(LONG, first.read(&mut [0])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "the oldest was closed: {closed:?}");
        serving.abort();
    }
}
