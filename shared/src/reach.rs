//! Why a service cannot be reached, in one sentence.
//!
//! The errors of a transport are chains of four or five, of which the last has the cause,
//! and a client without TLS that meets a server with TLS is told of a broken connection
//! only. Here such errors become an [`Obstacle`].

use std::{error::Error, fmt, io, time::Duration};

use http::Uri;
use rustls::{AlertDescription, CertificateError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// How long a check of a service may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a service is asked that closes the connection without saying why: its alert
/// may be lost when both sides write at once.
const ATTEMPTS: usize = 8;

/// What an HTTP/2 client sends first: the preface, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The type of a record of TLS that is an alert.
const TLS_ALERT: u8 = 21;

/// The type of the frame that an HTTP/2 server sends first.
const SETTINGS: u8 = 4;

/// A text that is not the URL of a service.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It has no scheme.
    #[error("`{0}` has no scheme: write http://{0}, or https://{0} for a service with TLS")]
    NoScheme(String),
    /// It is something else.
    #[error(
        "`{0}` is not the URL of a service, such as http://127.0.0.1:50051 or \
         https://records.example:50051"
    )]
    Other(String),
}

/// Reads the URL of a service: `http://` or `https://`, a host, and a port.
///
/// # Errors
///
/// When the text is no such URL; the error says how to write it.
pub fn service_url(text: &str) -> Result<Uri, UrlError> {
    let other = || UrlError::Other(text.to_owned());
    let url: Uri = text.parse().map_err(|_| other())?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        (None, Some(_)) => Err(UrlError::NoScheme(text.to_owned())),
        _ => Err(other()),
    }
}

/// What is between a caller and a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The URL says https, and the service does not use TLS.
    NoTls,
    /// The URL says http, and the service uses TLS.
    Tls,
    /// The authority of the service's certificate is not known.
    UnknownAuthority,
    /// The service's certificate is for other names: these.
    OtherName(Vec<String>),
    /// The service's certificate has expired, or is not valid yet.
    OutOfDate,
    /// The service asks for a client certificate, or closes every connection without one.
    NoClientCertificate,
    /// What answers is an HTTP server, and no gRPC service.
    NotGrpc,
    /// What answers is another service.
    OtherService,
    /// Anything else, in the words of the innermost error.
    Other(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTls => f.write_str("it does not use TLS, and its URL says https://"),
            Self::Tls => f.write_str("it uses TLS, and its URL says http://"),
            Self::UnknownAuthority => {
                f.write_str("the authority of its certificate is not known here")
            }
            Self::OtherName(names) => {
                write!(f, "its certificate is for {}", names.join(", "))
            }
            Self::OutOfDate => f.write_str("its certificate has expired, or is not valid yet"),
            Self::NoClientCertificate => f.write_str("it needs a client certificate"),
            Self::NotGrpc => f.write_str("what answers there is not a gRPC service"),
            Self::OtherService => f.write_str("another service answers there"),
            Self::Other(cause) => f.write_str(cause),
        }
    }
}

impl Obstacle {
    /// What an error of a transport is about.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        // HTTP/2 keeps no more than the text of what broke its connection.
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let known = chain(error).find_map(of_tls);
        known.unwrap_or_else(|| match innermost(error) {
            text if text.contains(&alert.to_string()) => Self::NoClientCertificate,
            text => Self::Other(text),
        })
    }
}

/// The text of the innermost error: the others repeat it, or say less.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// An error of TLS. One that is inside of an I/O error is not its source.
fn of_tls(error: &(dyn Error + 'static)) -> Option<Obstacle> {
    if let Some(inside) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return of_tls(inside);
    }
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidMessage(_) => Some(Obstacle::NoTls),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Some(Obstacle::NoClientCertificate)
        }
        rustls::Error::InvalidCertificate(error) => match error {
            // The signature is wrong when another authority has the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Some(Obstacle::UnknownAuthority)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.iter().filter_map(|name| host_name(name));
                Some(Obstacle::OtherName(names.collect()))
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Some(Obstacle::OutOfDate),
            _ => None,
        },
        _ => None,
    }
}

/// `localhost` of `DnsName("localhost")`; none of a name that is not one of a host.
fn host_name(name: &str) -> Option<String> {
    let (kind, name) = name.split_once('(')?;
    let is_host = matches!(kind, "DnsName" | "IpAddress");
    is_host.then(|| name.trim_end_matches(')').trim_matches('"').to_owned())
}

/// What keeps from a service, when the transport says that it is `known`.
pub async fn obstacle(url: &Uri, known: Obstacle) -> Obstacle {
    if !matches!(known, Obstacle::Other(_)) {
        return known;
    }
    // The transport is told of a connection that broke, and not by which bytes.
    let answer = timeout(PATIENCE, probe(url)).await.ok().and_then(Result::ok);
    match (url.scheme_str(), answer) {
        (Some("http"), Some(Answer::Tls)) => Obstacle::Tls,
        (Some("http"), Some(Answer::Http1)) => Obstacle::NotGrpc,
        (Some("https"), Some(Answer::Http1 | Answer::Http2)) => Obstacle::NoTls,
        _ => known,
    }
}

/// Asks a service for its health. `None` when there is nothing to say against it: also
/// when it is busy, or does not answer such questions. With `name`, the full name of a
/// gRPC service, an answer that it is not known there is an obstacle too.
pub async fn check(url: &Uri, channel: Channel, name: Option<&str>) -> Option<Obstacle> {
    let request = HealthCheckRequest { service: name.unwrap_or_default().to_owned() };
    let mut client = HealthClient::new(channel);
    let has_tls = url.scheme_str() == Some("https");
    for _ in 0..ATTEMPTS {
        let status = timeout(PATIENCE, client.check(request.clone())).await.ok()?.err()?;
        if status.code() == Code::NotFound && name.is_some() {
            return Some(Obstacle::OtherService);
        }
        // A status that a service has sent has no source.
        let known = Obstacle::of(status.source()?);
        // Unavailable: there was no connection.
        let was_connected = status.code() != Code::Unavailable;
        if !(has_tls && was_connected && is_closed(&known)) {
            return Some(obstacle(url, known).await);
        }
    }
    Some(Obstacle::NoClientCertificate)
}

/// Whether all that is known is that the connection was closed.
fn is_closed(known: &Obstacle) -> bool {
    matches!(known, Obstacle::Other(cause) if !cause.contains("alert"))
}

/// What a server answers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Tls,
    Http1,
    Http2,
    Other,
}

/// Sends the preface of HTTP/2 without TLS, and reads the first bytes of the answer.
async fn probe(url: &Uri) -> io::Result<Answer> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let mut stream = TcpStream::connect((host, url.port_u16().unwrap_or(usual))).await?;
    stream.write_all(PREFACE).await?;
    let mut bytes = [0; 6];
    let read = stream.read(&mut bytes).await?;
    Ok(match bytes.get(..read).unwrap_or_default() {
        [TLS_ALERT, ..] => Answer::Tls,
        [b'H', b'T', b'T', b'P', ..] => Answer::Http1,
        [_, _, _, SETTINGS, ..] => Answer::Http2,
        _ => Answer::Other,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for url in ["http://127.0.0.1:50051", "https://records.example", "http://[::1]:1"] {
            assert!(service_url(url).is_ok(), "{url}");
        }
        for (text, told) in [
            ("127.0.0.1:50051", "write http://127.0.0.1:50051, or https://127.0.0.1:50051"),
            ("localhost:50051", "write http://localhost:50051"),
            ("records", "write http://records"),
            ("ftp://records:1", "is not the URL of a service"),
            ("/var/run/records", "is not the URL of a service"),
            ("", "is not the URL of a service"),
            ("http://a b", "is not the URL of a service"),
        ] {
            let refused = service_url(text).unwrap_err().to_string();
            assert!(refused.contains(told), "{text}: {refused}");
        }
    }

    #[test]
    fn an_error_of_tls_inside_of_others_is_found() {
        let io = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let signature = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(Obstacle::of(&io(signature)), Obstacle::UnknownAuthority);
        assert_eq!(Obstacle::of(&io(unknown.clone())), Obstacle::UnknownAuthority);
        assert_eq!(Obstacle::of(&io::Error::other(io(unknown))), Obstacle::UnknownAuthority);
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(Obstacle::of(&plain), Obstacle::NoTls);
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let text = io::Error::other(alert.to_string());
        assert_eq!(Obstacle::of(&io(alert)), Obstacle::NoClientCertificate);
        assert_eq!(Obstacle::of(&text), Obstacle::NoClientCertificate);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Obstacle::of(&refused), Obstacle::Other("connection refused".to_owned()));
        assert_eq!(host_name("DnsName(\"localhost\")").as_deref(), Some("localhost"));
        assert_eq!(host_name("IpAddress(127.0.0.1)").as_deref(), Some("127.0.0.1"));
        assert_eq!(host_name("UniformResourceIdentifier(\"urn:x\")"), None);
    }

    /// What is said of a server that answers with these bytes.
    async fn answered(scheme: &str, bytes: &'static [u8]) -> Obstacle {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        });
        let known = Obstacle::Other("the connection broke".to_owned());
        let found = obstacle(&url, known).await;
        serving.await.unwrap();
        found
    }

    #[tokio::test]
    async fn the_first_bytes_of_a_server_say_what_it_is() {
        assert_eq!(answered("http", b"\x15\x03\x03\0\x02\x02\x32").await, Obstacle::Tls);
        assert_eq!(answered("http", b"HTTP/1.1 400 Bad Request").await, Obstacle::NotGrpc);
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0";
        assert_eq!(answered("https", settings).await, Obstacle::NoTls);
        let broke = Obstacle::Other("the connection broke".to_owned());
        assert_eq!(answered("http", settings).await, broke);
        assert_eq!(answered("http", b"").await, broke);
    }
}
