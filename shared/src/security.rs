//! What an operator says about identity and encryption, and whether a server may
//! start with it.
//!
//! Without keys, only a loopback address is served, and callers are believed.
//! Everywhere else callers send signed tokens, over TLS.

use std::{error::Error, fs, io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{
    identity::{Credentials, KeyFileError, ServiceSecret, TokenSettings, TokenVerifier, tokens},
    server::TrustedProxies,
};

/// HTTP/2, as TLS calls it.
const ALPN_HTTP2: &[u8] = b"h2";

/// The settings of one server.
#[derive(Clone, Debug, Default)]
pub struct SecuritySettings {
    /// Which tokens it believes; development identity without.
    pub tokens: Option<TokenOptions>,
    /// The secret of the imports service.
    pub service_secret: Option<ServiceSecret>,
    /// Its certificate; no encryption without.
    pub tls: Option<TlsFiles>,
    /// Tokens may come unencrypted from other machines: something in front of the
    /// server ends TLS.
    pub behind_proxy: bool,
    /// The proxies in front of the server.
    pub proxies: TrustedProxies,
    /// Whether the reflection service is left out.
    pub no_reflection: bool,
}

/// Whose tokens are believed.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// The file with the issuer's public keys: a JWKS, or PEM.
    pub keys: PathBuf,
    /// Who must have issued them.
    pub issuer: String,
    /// Whom they must be for.
    pub audience: String,
}

impl TokenOptions {
    /// Tokens of an issuer for the usual audience.
    pub fn new(keys: impl Into<PathBuf>, issuer: impl Into<String>) -> Self {
        Self { keys: keys.into(), issuer: issuer.into(), audience: tokens::AUDIENCE.to_owned() }
    }
}

/// The files of a certificate, in PEM form.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority of client certificates. With it, each client must have one,
    /// for the product of its token.
    pub client_authority: Option<PathBuf>,
}

/// A server would not be safe as it is told to be.
#[derive(Debug, thiserror::Error)]
pub enum InsecureStart {
    /// Anyone could say to be anyone.
    #[error(
        "refusing to listen on {0}: callers could not be told apart; name the keys of their \
         tokens (--token-keys), or listen on a loopback address such as 127.0.0.1"
    )]
    NoKeys(SocketAddr),
    /// Tokens and records could be read on the way.
    #[error(
        "refusing to listen on {0} without encryption: name a certificate (--tls-cert, \
         --tls-key), or say --behind-proxy when a proxy in front ends TLS"
    )]
    NoTls(SocketAddr),
    /// The token of the imports service could be read on the way.
    #[error(
        "refusing to call the records service at {0} without encryption: use an https:// URL, \
         or say --behind-proxy when the network between is encrypted"
    )]
    PlainRecords(String),
    /// The imports service would not be let in.
    #[error("tokens are checked (--token-keys), and the services share no --service-secret")]
    NoServiceSecret,
    /// The keys of tokens cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, io::Error),
    /// The certificate, its key or the authority of the clients cannot be used.
    #[error("TLS: {0} cannot be used: {1}")]
    Tls(String, Box<dyn Error + Send + Sync>),
}

/// What a server needs to know to be safe.
#[derive(Clone, Debug)]
pub struct ServerSecurity {
    /// What it believes about its callers.
    pub credentials: Credentials,
    /// How it encrypts; not at all without.
    pub tls: Option<Arc<ServerConfig>>,
    /// The proxies in front of it.
    pub proxies: TrustedProxies,
    /// Whether it has the reflection service.
    pub reflection: bool,
}

impl SecuritySettings {
    /// What a server on the address needs, when it is safe. Says loudly in the log
    /// when callers are believed.
    ///
    /// # Errors
    ///
    /// When the server would not be safe, or a file cannot be read.
    pub fn for_server(&self, listen: SocketAddr) -> Result<ServerSecurity, InsecureStart> {
        let is_local = listen.ip().is_loopback();
        let Some(tokens) = &self.tokens else {
            if !is_local {
                return Err(InsecureStart::NoKeys(listen));
            }
            tracing::warn!(
                address = %listen,
                "DEVELOPMENT IDENTITY: callers on this machine are believed to be whoever they \
                 say; name the keys of tokens before there is real data"
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
                "the connections of the proxy count as those of one address: name it \
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

/// How a client checks a server, and shows its own certificate.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// The authority of the server's certificate, in PEM form; those of the system
    /// without.
    pub authority: Option<PathBuf>,
    /// The client's own certificate and private key, in PEM form.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// The configuration of the transport.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
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

    fn refused(settings: &SecuritySettings, listen: &str) -> String {
        settings.for_server(listen.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn an_open_address_needs_keys_and_a_certificate() {
        let none = SecuritySettings::default();
        assert!(refused(&none, "0.0.0.0:50051").contains("--token-keys"));
        let tokens = Some(TokenOptions::new("keys.pem", "https://login.example"));
        let plain = SecuritySettings { tokens, ..none.clone() };
        assert!(refused(&plain, "0.0.0.0:50051").contains("--tls-cert"));
        // On to the keys, which are not there.
        for allowed in [plain.clone(), SecuritySettings { behind_proxy: true, ..plain.clone() }]
            .iter()
            .zip(["127.0.0.1:50051", "0.0.0.0:50051"])
        {
            assert!(refused(allowed.0, allowed.1).contains("keys.pem"));
        }
        assert!(none.for_server("[::1]:50051".parse().unwrap()).is_ok());
    }
}
