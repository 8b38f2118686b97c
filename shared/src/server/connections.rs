//! Takes so many connections and no more.
//!
//! One that is too many is closed at once: its client learns of it and tries
//! another replica. Left waiting, it would learn of it when its patience ends.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _, TryStreamExt as _, future::ready};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::{age::ConnectionAge, limits::semaphore, turned_away::TurnedAway};

/// How long to wait when the system lets the process open no more files. Another
/// try at once would fail as well, and keep a core busy.
const PAUSE_WITHOUT_FILES: Duration = Duration::from_millis(100);
/// The system's words for it: of the process, and of the machine.
const NO_MORE_FILES: [i32; 2] = [24, 23];

/// Those of the `incoming` connections that find a place, each with its first byte
/// due in `first_byte_time`, and becoming as old as `age` at the most.
pub(super) fn bounded(
    incoming: impl Stream<Item = io::Result<TcpStream>>,
    connections: u32,
    first_byte_time: Duration,
    age: Option<Duration>,
) -> impl Stream<Item = io::Result<Placed>> {
    let places = Arc::new(semaphore(connections));
    let turned_away = TurnedAway::new("connections");
    incoming.then(paced).try_filter_map(move |connection| {
        let taken = Placed::new(connection, &places, first_byte_time, age);
        if taken.is_none() {
            turned_away.one_more();
        }
        ready(Ok(taken))
    })
}

async fn paced(accepted: io::Result<TcpStream>) -> io::Result<TcpStream> {
    let error = accepted.as_ref().err().and_then(io::Error::raw_os_error);
    if error.is_some_and(|error| NO_MORE_FILES.contains(&error)) {
        tracing::warn!("no more files may be opened: a connection waits");
        sleep(PAUSE_WITHOUT_FILES).await;
    }
    accepted
}

/// A connection that has a place, and knows how old it may become.
#[derive(Debug)]
pub(super) struct Placed {
    connection: TcpStream,
    /// When it is cut; none once it has said something.
    silent_until: Option<Pin<Box<Sleep>>>,
    age: ConnectionAge,
    _place: OwnedSemaphorePermit,
}

impl Placed {
    fn new(
        connection: TcpStream,
        places: &Arc<Semaphore>,
        first_byte_time: Duration,
        age: Option<Duration>,
    ) -> Option<Self> {
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        let silent_until = Some(Box::pin(sleep(first_byte_time)));
        Some(Self { connection, silent_until, age: ConnectionAge::of_new(age), _place: place })
    }
}

impl Connected for Placed {
    type ConnectInfo = ConnectionAge;

    fn connect_info(&self) -> ConnectionAge {
        self.age
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.connection).poll_read(context, buffer);
        if read.is_ready() {
            self.silent_until = None;
        } else if let Some(silent_until) = &mut self.silent_until
            && silent_until.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Placed {
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tonic::transport::server::TcpIncoming;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    async fn listen(
        connections: u32,
        first_byte_time: Duration,
    ) -> (std::net::SocketAddr, impl Stream<Item = io::Result<Placed>> + Unpin) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(listener);
        (address, Box::pin(bounded(incoming, connections, first_byte_time, None)))
    }

    #[tokio::test]
    async fn a_connection_too_many_is_closed_and_one_that_ends_makes_room() {
        let (address, mut incoming) = listen(1, LONG).await;
        let (_client, first) =
            tokio::join!(TcpStream::connect(address), async { incoming.next().await });
        let mut too_many = TcpStream::connect(address).await.unwrap();
        let accepting = tokio::spawn(async move { incoming.next().await });
        // Closed, or reset.
        let end = tokio::time::timeout(LONG, too_many.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        drop(first);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(accepting.await.unwrap().unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_cut() {
        let (address, mut incoming) = listen(2, Duration::from_millis(200)).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut placed = incoming.next().await.unwrap().unwrap();
        let error = placed.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let mut client = TcpStream::connect(address).await.unwrap();
        let mut placed = incoming.next().await.unwrap().unwrap();
        client.write_all(b"P").await.unwrap();
        placed.read_exact(&mut [0]).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(500), placed.read(&mut [0])).await;
        assert!(quiet.is_err(), "after its first byte it may be quiet");
    }
}
