//! A TCP proxy that can break its connections.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tonic::transport::{Channel, Endpoint};

/// How a connection is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// Sends RST to both sides, as when a process is killed. Data in transit is lost.
    Reset,
    /// Sends FIN to both sides, as on a clean close.
    Close,
    /// Stops forwarding without notice, as when a cable is pulled.
    Blackhole,
}

/// The interval of HTTP/2 keepalive pings, and the timeout for their answers.
const KEEPALIVE: Duration = Duration::from_millis(500);

/// How long the sockets of a black-holed connection are kept open: longer than the
/// client takes to detect it by keepalive.
const BLACKHOLE_TIME: Duration = Duration::from_secs(4);

/// A proxy in front of one server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    commands: broadcast::Sender<Disconnect>,
}

impl Proxy {
    /// Starts a proxy in front of the server at `url`. It ends with the test.
    pub async fn start(url: &str) -> Self {
        let server: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (commands, _) = broadcast::channel(1);
        let receivers = commands.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(client, server, receivers.subscribe()));
            }
        });
        Self { address, commands }
    }

    /// A channel through the proxy. It reconnects when its connection breaks.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_lazy()
    }

    /// Breaks the open connections. Returns whether there was one.
    pub fn disconnect(&self, how: Disconnect) -> bool {
        self.commands.send(how).is_ok()
    }
}

async fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    mut commands: broadcast::Receiver<Disconnect>,
) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let command = tokio::select! {
        // Either side has closed the connection.
        _ = copy_bidirectional(&mut client, &mut server) => return,
        command = commands.recv() => command,
    };
    drop(commands);
    match command {
        Ok(Disconnect::Reset) => {
            client.set_zero_linger().unwrap();
            server.set_zero_linger().unwrap();
        }
        Ok(Disconnect::Close) => {
            // The other side may have closed already.
            let _ = tokio::join!(client.shutdown(), server.shutdown());
        }
        Ok(Disconnect::Blackhole) => tokio::time::sleep(BLACKHOLE_TIME).await,
        Err(_) => {}
    }
}
