//! What an operator says about identity and encryption, and whether a server may
//! start with it.
//!
//! Without keys, only a loopback address is served, and callers are believed.
//! Everywhere else callers send signed tokens, over TLS.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::identity::{
    Credentials, KeyFileError, ServiceSecret, TokenSettings, TokenVerifier, tokens,
};

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

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
}

/// What a server needs to know to be safe.
#[derive(Clone, Debug)]
pub struct ServerSecurity {
    /// What it believes about its callers.
    pub credentials: Credentials,
    /// How it encrypts; not at all without.
    pub tls: Option<ServerTlsConfig>,
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
            let tls = self.tls.as_ref().map(server_tls).transpose()?;
            return Ok(ServerSecurity { credentials: Credentials::Development, tls });
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
        let tls = self.tls.as_ref().map(server_tls).transpose()?;
        Ok(ServerSecurity { credentials: Credentials::Tokens(Arc::new(verifier)), tls })
    }
}

fn server_tls(files: &TlsFiles) -> Result<ServerTlsConfig, InsecureStart> {
    let identity = Identity::from_pem(read(&files.certificate)?, read(&files.key)?);
    let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_TIMEOUT);
    let Some(authority) = &files.client_authority else { return Ok(tls) };
    Ok(tls.client_ca_root(Certificate::from_pem(read(authority)?)))
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
