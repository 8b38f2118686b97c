//! The opening of a connection: the header of the PROXY protocol, the TLS handshake, the
//! HTTP/2 preface.
//!
//! All of it is read here, before hyper gets the connection, so that one timeout limits
//! it: hyper waits for the preface without a timeout.

use std::io;

use proxy_header::{ParseConfig, io::ProxiedStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

use super::{replay::Replay, stream_context::ClientCertificates};
use crate::{
    proxies::Origin,
    quota::{ClientNetwork, Exceeded, QuotaPermit},
};

/// The preface of an HTTP/2 client (RFC 9113, 3.4). A SETTINGS frame follows it.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of the header of a frame (RFC 9113, 4.1).
const FRAME_HEADER: usize = 9;
/// The type of a SETTINGS frame (RFC 9113, 6.5).
const SETTINGS: u8 = 4;
/// The longest frame that a client may send before it has the server's settings
/// (RFC 9113, 4.2).
const MAX_FRAME: usize = 16_384;

type Proxied = ProxiedStream<TcpStream>;

/// The decrypted bytes of a connection, from the preface on.
pub(super) type Plaintext = Replay<Either<Box<TlsStream<Proxied>>, Proxied>>;

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) origin: Origin,
    pub(super) permit: QuotaPermit,
}

/// A connection whose client speaks HTTP/2.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) io: Plaintext,
    pub(super) network: Option<ClientNetwork>,
    pub(super) certificates: Option<ClientCertificates>,
    pub(super) permit: QuotaPermit,
}

/// Why a connection is closed before its first stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not an HTTP/2 client")]
    NotHttp2,
    #[error("the client has its share of the connections")]
    Share(Exceeded),
}

impl Accepted {
    /// Reads up to the first SETTINGS frame, and that frame.
    ///
    /// # Errors
    ///
    /// If the client closes the connection, does not speak the protocol, cannot complete
    /// the TLS handshake, or already holds its maximum of connections.
    pub(super) async fn open(self, tls: Option<&TlsAcceptor>) -> Result<Opened, OpenError> {
        let Self { stream, origin, mut permit } = self;
        let (stream, network) = match origin {
            Origin::Client(network) => (Proxied::unproxied(stream), Some(network)),
            Origin::Proxy => (Proxied::unproxied(stream), None),
            Origin::ProxyProtocol => {
                let stream = Proxied::create_from_tokio(stream, header_format()).await?;
                // A connection of the proxy itself, such as a health check, names no client.
                let client = stream.proxy_header().proxied_address();
                let network = client.map(|client| ClientNetwork::from(client.source.ip()));
                if let Some(network) = network {
                    permit.charge(network).map_err(OpenError::Share)?;
                }
                (stream, network)
            }
        };
        let (io, certificates) = match tls {
            Some(tls) => {
                let stream = tls.accept(stream).await?;
                let (_, session) = stream.get_ref();
                let certificates = session.peer_certificates().map(ClientCertificates::from);
                (Either::Left(Box::new(stream)), certificates)
            }
            None => (Either::Right(stream), None),
        };
        Ok(Opened { io: read_preface(io).await?, network, certificates, permit })
    }
}

fn header_format() -> ParseConfig {
    ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true }
}

/// Reads the preface and the first frame, which must be SETTINGS.
async fn read_preface<IO: AsyncRead + Unpin>(mut io: IO) -> Result<Replay<IO>, OpenError> {
    let mut preface = [0; PREFACE.len()];
    io.read_exact(&mut preface).await?;
    if preface != PREFACE {
        return Err(OpenError::NotHttp2);
    }
    let mut header = [0; FRAME_HEADER];
    io.read_exact(&mut header).await?;
    let [high, middle, low, kind, ..] = header;
    let length = (usize::from(high) << 16) | (usize::from(middle) << 8) | usize::from(low);
    if kind != SETTINGS || length > MAX_FRAME {
        return Err(OpenError::NotHttp2);
    }
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).await?;
    Ok(Replay::new([&preface[..], &header, &payload].concat(), io))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (mut client, server) = tokio::io::duplex(64 * 1_024);
        client.write_all(bytes).await.unwrap();
        drop(client);
        let mut replay = read_preface(server).await?;
        let mut read = Vec::new();
        replay.read_to_end(&mut read).await.unwrap();
        Ok(read)
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
    }

    #[tokio::test]
    async fn preface_and_settings_are_replayed_with_what_follows() {
        let settings = frame(SETTINGS, &[0, 3, 0, 0, 0, 100]);
        for sent in [
            [&PREFACE[..], &settings].concat(),
            [&PREFACE[..], &frame(SETTINGS, &[]), b"more"].concat(),
        ] {
            assert_eq!(read(&sent).await.unwrap(), sent);
        }
    }

    #[tokio::test]
    async fn other_bytes_are_rejected() {
        let http1 = b"GET / HTTP/1.1\r\nHost: concord.example\r\n\r\n".to_vec();
        let headers_first = [&PREFACE[..], &frame(1, b"")].concat();
        let too_long = [&PREFACE[..], &frame(SETTINGS, &vec![0; MAX_FRAME + 1])].concat();
        for sent in [http1, headers_first, too_long] {
            assert!(matches!(read(&sent).await, Err(OpenError::NotHttp2)), "{sent:?}");
        }
        for short in [&PREFACE[..1], &PREFACE[..], &[&PREFACE[..], &[0, 0, 6, 4]].concat()] {
            assert!(matches!(read(short).await, Err(OpenError::Io(_))), "{short:?}");
        }
    }
}
