//! Diagnosis of why a service cannot be reached, in one sentence.
//!
//! The errors of a transport are chains of four or five, of which the last one has the
//! cause, and a client without TLS sees only a broken connection at a server with TLS. This
//! module maps such errors to a [`ConnectFailure`].

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

/// The timeout of a check.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of attempts at a service that closes the connection without a TLS alert,
/// which is lost if both sides write at the same time.
const ATTEMPTS: usize = 8;

/// The first bytes of an HTTP/2 client: the preface, and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The type of a TLS record that holds an alert.
const TLS_ALERT: u8 = 21;

/// The type of the first frame of an HTTP/2 server.
const SETTINGS: u8 = 4;

/// Why a text is not the URL of a service.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It has no scheme.
    #[error("`{0}` has no scheme: write http://{0}, or https://{0} for a service with TLS")]
    NoScheme(String),
    /// It is not a URL, or of another scheme.
    #[error(
        "`{0}` is not the URL of a service, such as http://127.0.0.1:50051 or \
         https://records.example:50051"
    )]
    Other(String),
}

/// Parses the URL of a service: `http://` or `https://`, a host, and a port.
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

/// Why a service cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The URL says https, and the service does not use TLS.
    NoTls,
    /// The URL says http, and the service uses TLS.
    Tls,
    /// The certificate authority of the service is unknown.
    UnknownAuthority,
    /// The service's certificate is for other names: these.
    OtherName(Vec<String>),
    /// The service's certificate has expired, or is not valid yet.
    OutOfDate,
    /// The service requires a client certificate, or closes every connection without one.
    NoClientCertificate,
    /// The server speaks HTTP, but not gRPC.
    NotGrpc,
    /// The server is another gRPC service.
    OtherService,
    /// Another cause: the text of the innermost error.
    Other(String),
}

impl fmt::Display for ConnectFailure {
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

impl ConnectFailure {
    /// The cause of a transport error.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        // HTTP/2 keeps only the text of the error that broke its connection.
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let known = chain(error).find_map(of_tls);
        known.unwrap_or_else(|| match innermost(error) {
            text if text.contains(&alert.to_string()) => Self::NoClientCertificate,
            text => Self::Other(text),
        })
    }
}

/// The text of the innermost error, which is the most specific one.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The cause of a TLS error. An error inside of an I/O error is not its source.
fn of_tls(error: &(dyn Error + 'static)) -> Option<ConnectFailure> {
    if let Some(inside) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return of_tls(inside);
    }
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidMessage(_) => Some(ConnectFailure::NoTls),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Some(ConnectFailure::NoClientCertificate)
        }
        rustls::Error::InvalidCertificate(error) => match error {
            // The signature is invalid if another authority has the same name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Some(ConnectFailure::UnknownAuthority)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.iter().filter_map(|name| host_name(name));
                Some(ConnectFailure::OtherName(names.collect()))
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Some(ConnectFailure::OutOfDate),
            _ => None,
        },
        _ => None,
    }
}

/// `localhost` of `DnsName("localhost")`; `None` if the name is not that of a host.
fn host_name(name: &str) -> Option<String> {
    let (kind, name) = name.split_once('(')?;
    let is_host = matches!(kind, "DnsName" | "IpAddress");
    is_host.then(|| name.trim_end_matches(')').trim_matches('"').to_owned())
}

/// Refines the cause `known` from the transport by the first bytes of the server.
pub async fn diagnose(url: &Uri, known: ConnectFailure) -> ConnectFailure {
    if !matches!(known, ConnectFailure::Other(_)) {
        return known;
    }
    // The transport reports a broken connection without the bytes that broke it.
    let answer = timeout(TIMEOUT, probe(url)).await.ok().and_then(Result::ok);
    match (url.scheme_str(), answer) {
        (Some("http"), Some(Protocol::Tls)) => ConnectFailure::Tls,
        (Some("http"), Some(Protocol::Http1)) => ConnectFailure::NotGrpc,
        (Some("https"), Some(Protocol::Http1 | Protocol::Http2)) => ConnectFailure::NoTls,
        _ => known,
    }
}

/// Checks that a service can be reached, by a health check. Returns `None` also if the
/// service is overloaded or does not implement health checks. With `name`, the full name
/// of a gRPC service, `NOT_FOUND` is a failure too.
pub async fn check(url: &Uri, channel: Channel, name: Option<&str>) -> Option<ConnectFailure> {
    let request = HealthCheckRequest { service: name.unwrap_or_default().to_owned() };
    let mut client = HealthClient::new(channel);
    let has_tls = url.scheme_str() == Some("https");
    for _ in 0..ATTEMPTS {
        let status = timeout(TIMEOUT, client.check(request.clone())).await.ok()?.err()?;
        if status.code() == Code::NotFound && name.is_some() {
            return Some(ConnectFailure::OtherService);
        }
        // A status from the service has no source.
        let known = ConnectFailure::of(status.source()?);
        // `UNAVAILABLE` means that there was no connection.
        let was_connected = status.code() != Code::Unavailable;
        if !(has_tls && was_connected && is_closed(&known)) {
            return Some(diagnose(url, known).await);
        }
    }
    Some(ConnectFailure::NoClientCertificate)
}

/// Returns `true` if the only known cause is a closed connection.
fn is_closed(known: &ConnectFailure) -> bool {
    matches!(known, ConnectFailure::Other(cause) if !cause.contains("alert"))
}

/// The protocol of a server, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tls,
    Http1,
    Http2,
    Other,
}

/// Sends the HTTP/2 preface without TLS, and reads the first bytes of the response.
async fn probe(url: &Uri) -> io::Result<Protocol> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let mut stream = TcpStream::connect((host, url.port_u16().unwrap_or(usual))).await?;
    stream.write_all(PREFACE).await?;
    let mut bytes = [0; 6];
    let read = stream.read(&mut bytes).await?;
    Ok(match bytes.get(..read).unwrap_or_default() {
        [TLS_ALERT, ..] => Protocol::Tls,
        [b'H', b'T', b'T', b'P', ..] => Protocol::Http1,
        [_, _, _, SETTINGS, ..] => Protocol::Http2,
        _ => Protocol::Other,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn url_needs_scheme_and_host() {
        for url in ["http://127.0.0.1:50051", "https://records.example", "http://[::1]:1"] {
            assert!(service_url(url).is_ok(), "{url}");
        }
        for (text, message) in [
            ("127.0.0.1:50051", "write http://127.0.0.1:50051, or https://127.0.0.1:50051"),
            ("localhost:50051", "write http://localhost:50051"),
            ("records", "write http://records"),
            ("ftp://records:1", "is not the URL of a service"),
            ("/var/run/records", "is not the URL of a service"),
            ("", "is not the URL of a service"),
            ("http://a b", "is not the URL of a service"),
        ] {
            let refused = service_url(text).unwrap_err().to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }

    #[test]
    fn nested_tls_error_is_found() {
        let io = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let signature = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(ConnectFailure::of(&io(signature)), ConnectFailure::UnknownAuthority);
        assert_eq!(ConnectFailure::of(&io(unknown.clone())), ConnectFailure::UnknownAuthority);
        assert_eq!(
            ConnectFailure::of(&io::Error::other(io(unknown))),
            ConnectFailure::UnknownAuthority
        );
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(ConnectFailure::of(&plain), ConnectFailure::NoTls);
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let text = io::Error::other(alert.to_string());
        assert_eq!(ConnectFailure::of(&io(alert)), ConnectFailure::NoClientCertificate);
        assert_eq!(ConnectFailure::of(&text), ConnectFailure::NoClientCertificate);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            ConnectFailure::of(&refused),
            ConnectFailure::Other("connection refused".to_owned())
        );
        assert_eq!(host_name("DnsName(\"localhost\")").as_deref(), Some("localhost"));
        assert_eq!(host_name("IpAddress(127.0.0.1)").as_deref(), Some("127.0.0.1"));
        assert_eq!(host_name("UniformResourceIdentifier(\"urn:x\")"), None);
    }

    /// The diagnosis of a server that responds with these bytes.
    async fn answered(scheme: &str, bytes: &'static [u8]) -> ConnectFailure {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        });
        let known = ConnectFailure::Other("the connection broke".to_owned());
        let found = diagnose(&url, known).await;
        serving.await.unwrap();
        found
    }

    #[tokio::test]
    async fn first_bytes_of_server_identify_protocol() {
        assert_eq!(answered("http", b"\x15\x03\x03\0\x02\x02\x32").await, ConnectFailure::Tls);
        assert_eq!(answered("http", b"HTTP/1.1 400 Bad Request").await, ConnectFailure::NotGrpc);
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0";
        assert_eq!(answered("https", settings).await, ConnectFailure::NoTls);
        let broke = ConnectFailure::Other("the connection broke".to_owned());
        assert_eq!(answered("http", settings).await, broke);
        assert_eq!(answered("http", b"").await, broke);
    }
}
