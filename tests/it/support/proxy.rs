//! A connection that can be cut: it goes through a proxy of the test.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tonic::transport::{Channel, Endpoint};

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As when a process is killed: both sides are told at once, and what is under
    /// way is lost.
    Reset,
    /// As when it ends well: both sides hear the end of the other.
    Close,
    /// As when a cable is pulled: neither side is told anything.
    Silence,
}

/// How often a client asks whether its connection lives, and how long it waits
/// for the answer.
const KEEPALIVE: Duration = Duration::from_millis(500);

/// How long the ends of a silenced connection are held: longer than it takes the
/// client to notice.
const SILENCE: Duration = Duration::from_secs(4);

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    orders: broadcast::Sender<Cut>,
}

impl Proxy {
    /// In front of the server at `url`; ends with the test.
    pub(crate) async fn start(url: &str) -> Self {
        let server: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, _) = broadcast::channel(1);
        let given = orders.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(client, server, given.subscribe()));
            }
        });
        Self { address, orders }
    }

    /// A connection through it, which is made anew whenever it is found broken.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_lazy()
    }

    /// Cuts the connection; whether there was one.
    pub(crate) fn cut(&self, cut: Cut) -> bool {
        self.orders.send(cut).is_ok()
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, mut orders: broadcast::Receiver<Cut>) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let order = tokio::select! {
        // Either side ended by itself.
        _ = copy_bidirectional(&mut client, &mut server) => return,
        order = orders.recv() => order,
    };
    drop(orders);
    match order {
        Ok(Cut::Reset) => {
            client.set_zero_linger().unwrap();
            server.set_zero_linger().unwrap();
        }
        Ok(Cut::Close) => {
            // The other side may have gone already.
            let _ = tokio::join!(client.shutdown(), server.shutdown());
        }
        Ok(Cut::Silence) => tokio::time::sleep(SILENCE).await,
        Err(_) => {}
    }
}
