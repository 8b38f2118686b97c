//! Settings for authentication and TLS, and the checks that let a server start with them.
//!
//! Without token keys, a server listens on a loopback address only and does not verify the
//! identity of callers (development identity). On any other address callers send signed
//! tokens over TLS.

use std::{error::Error, fs, io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    TrustedProxies,
    identity::{Credentials, KeyFileError, ServiceSecret, TokenSettings, TokenVerifier, tokens},
};

/// The ALPN protocol name of HTTP/2.
const ALPN_HTTP2: &[u8] = b"h2";

/// The security settings of one server.
#[derive(Clone, Debug, Default)]
pub struct SecuritySettings {
    /// The accepted tokens; `None` selects development identity.
    pub tokens: Option<TokenOptions>,
    /// The secret of the imports service.
    pub service_secret: Option<ServiceSecret>,
    /// The server certificate; `None` disables TLS.
    pub tls: Option<TlsFiles>,
    /// Accepts unencrypted tokens from other machines: a proxy in front of the server
    /// terminates TLS.
    pub behind_proxy: bool,
    /// The proxies in front of the server.
    pub proxies: TrustedProxies,
    /// Disables the reflection service.
    pub no_reflection: bool,
}

/// The accepted tokens.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// The file with the issuer's public keys: a JWKS, or PEM.
    pub keys: PathBuf,
    /// The required issuer.
    pub issuer: String,
    /// The required audience.
    pub audience: String,
}

impl TokenOptions {
    /// Tokens of an issuer for the default audience.
    pub fn new(keys: impl Into<PathBuf>, issuer: impl Into<String>) -> Self {
        Self { keys: keys.into(), issuer: issuer.into(), audience: tokens::AUDIENCE.to_owned() }
    }
}

/// The files of a certificate, in PEM format.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain of the server, without the root.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authority of client certificates. If set, each client needs a certificate for the
    /// product of its token (mTLS).
    pub client_authority: Option<PathBuf>,
}

/// The settings are not secure, or cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum InsecureStart {
    /// Callers from other machines would not be authenticated.
    #[error(
        "refusing to listen on {0}: callers would not be authenticated; set the keys of their \
         tokens (--token-keys), or listen on a loopback address such as 127.0.0.1"
    )]
    NoKeys(SocketAddr),
    /// Tokens and records would be sent unencrypted.
    #[error(
        "refusing to listen on {0} without encryption: set a certificate (--tls-cert, \
         --tls-key), or --behind-proxy if a proxy in front terminates TLS"
    )]
    NoTls(SocketAddr),
    /// The token of the imports service would be sent unencrypted.
    #[error(
        "refusing to call the records service at {0} without encryption: use an https:// URL, \
         or set --behind-proxy if the network between is encrypted"
    )]
    PlainRecords(String),
    /// The imports service could not authenticate.
    #[error("tokens are required (--token-keys), and the services share no --service-secret")]
    NoServiceSecret,
    /// The token keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, io::Error),
    /// The certificate, its key or the client authority cannot be used.
    #[error("TLS: {0} cannot be used: {1}")]
    Tls(String, Box<dyn Error + Send + Sync>),
}

/// The checked security configuration of a server.
#[derive(Clone, Debug)]
pub struct ServerSecurity {
    /// How callers are authenticated.
    pub credentials: Credentials,
    /// The TLS configuration; `None` for no encryption.
    pub tls: Option<Arc<ServerConfig>>,
    /// The proxies in front of the server.
    pub proxies: TrustedProxies,
    /// True if the reflection service is enabled.
    pub reflection: bool,
}

impl SecuritySettings {
    /// Checks the settings for a server on the address. Logs a warning for development
    /// identity.
    ///
    /// # Errors
    ///
    /// If the settings are not secure, or a file cannot be read.
    pub fn for_server(&self, listen: SocketAddr) -> Result<ServerSecurity, InsecureStart> {
        let is_local = listen.ip().is_loopback();
        let Some(tokens) = &self.tokens else {
            if !is_local {
                return Err(InsecureStart::NoKeys(listen));
            }
            tracing::warn!(
                address = %listen,
                "DEVELOPMENT IDENTITY: the identity of callers on this machine is not verified; \
                 set token keys (--token-keys) before storing real data"
            );
            return self.with_credentials(Credentials::Development);
        };
        if !is_local && self.tls.is_none() && !self.behind_proxy {
            return Err(InsecureStart::NoTls(listen));
        }
        let with_certificate =
            self.tls.as_ref().is_some_and(|files| files.client_authority.is_some());
        let TokenOptions { keys, issuer, audience } = tokens.clone();
        let verifier = TokenVerifier::new(TokenSettings {
            keys,
            issuer,
            audience,
            service_secret: self.service_secret.clone(),
            with_certificate,
        })?;
        if self.behind_proxy && self.proxies.networks.is_empty() {
            tracing::warn!(
                "all connections of the proxy count as one address; set its address \
                 (--trusted-proxy)"
            );
        }
        self.with_credentials(Credentials::Tokens(Arc::new(verifier)))
    }

    fn with_credentials(&self, credentials: Credentials) -> Result<ServerSecurity, InsecureStart> {
        let tls = self.tls.as_ref().map(server_tls).transpose()?;
        let (proxies, reflection) = (self.proxies.clone(), !self.no_reflection);
        Ok(ServerSecurity { credentials, tls, proxies, reflection })
    }
}

fn server_tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, InsecureStart> {
    let unusable = |file: &PathBuf, error: Box<dyn Error + Send + Sync>| {
        InsecureStart::Tls(file.display().to_string(), error)
    };
    let certificates = |file: &PathBuf| {
        let read = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
        read.map_err(|error| unusable(file, error.into()))
    };
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?);
    let key = key.map_err(|error| unusable(&files.key, error.into()))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.certificate, error.into()))?;
    let builder = match &files.client_authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(authority)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let verifier = verifier.map_err(|error| unusable(authority, error.into()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(|error| unusable(&files.certificate, error.into()))?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// The TLS settings of a client.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// The authority of the server certificate, in PEM format; default: the authorities of
    /// the system.
    pub authority: Option<PathBuf>,
    /// The client certificate and its private key, in PEM format.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// The TLS configuration of the transport.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn config(&self) -> Result<ClientTlsConfig, InsecureStart> {
        let tls = match &self.authority {
            Some(authority) => {
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(authority)?))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        let Some((certificate, key)) = &self.certificate else { return Ok(tls) };
        Ok(tls.identity(Identity::from_pem(read(certificate)?, read(key)?)))
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, InsecureStart> {
    fs::read(path).map_err(|error| InsecureStart::File(path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(settings: &SecuritySettings, listen: &str) -> String {
        settings.for_server(listen.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn public_address_needs_token_keys_and_tls() {
        let none = SecuritySettings::default();
        assert!(rejection(&none, "0.0.0.0:50051").contains("--token-keys"));
        let tokens = Some(TokenOptions::new("keys.pem", "https://login.example"));
        let plain = SecuritySettings { tokens, ..none.clone() };
        assert!(rejection(&plain, "0.0.0.0:50051").contains("--tls-cert"));
        // Allowed settings fail later, on the missing key file.
        for allowed in [plain.clone(), SecuritySettings { behind_proxy: true, ..plain.clone() }]
            .iter()
            .zip(["127.0.0.1:50051", "0.0.0.0:50051"])
        {
            assert!(rejection(allowed.0, allowed.1).contains("keys.pem"));
        }
        assert!(none.for_server("[::1]:50051".parse().unwrap()).is_ok());
    }
}
