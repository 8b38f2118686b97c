//! The public keys that verify tokens: a file that is reloaded when it changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use x509_parser::{prelude::FromDer as _, public_key::RSAPublicKey};

use concord_core::status::quoted;

/// Minimum size of an RSA key, in bits (RFC 7518, 3.3).
const MIN_RSA_BITS: usize = 2_048;

/// Interval between checks of the file.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("the token keys {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// The file has an unknown format.
    #[error(
        "the token keys {0} are neither a JWKS nor PEM: a JWKS starts with {{\"keys\": …, and PEM \
         with -----BEGIN PUBLIC KEY-----"
    )]
    Unknown(String),
    /// The file contains an unsuitable key.
    #[error("the token keys {0}: {1}")]
    Unusable(String, String),
}

/// One public key.
#[derive(Clone)]
pub(super) struct TokenKey {
    /// The key id (`kid`); keys of a PEM file have none.
    id: Option<String>,
    algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The current keys of a file.
pub struct TokenKeys {
    path: PathBuf,
    current: watch::Sender<Loaded>,
}

/// The keys and the text of their file.
#[derive(Clone)]
pub(super) struct Loaded {
    text: Arc<str>,
    keys: Arc<[TokenKey]>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Loads the file. At start, a file without a usable key is an error.
    pub(super) fn open(path: PathBuf) -> Result<Self, KeyFileError> {
        let loaded = load(&path)?;
        if loaded.keys.is_empty() {
            let what = "no key in it can be used: signature keys are RSA, P-256 or Ed25519";
            return Err(KeyFileError::Unusable(path.display().to_string(), what.to_owned()));
        }
        Ok(Self { path, current: watch::Sender::new(loaded) })
    }

    /// Notifies of every later change of the keys.
    pub(super) fn changes(&self) -> watch::Receiver<Loaded> {
        self.current.subscribe()
    }

    /// The keys that may have signed a token of this algorithm and key id.
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<TokenKey> {
        let fits = |key: &&TokenKey| {
            let named = id.is_none_or(|id| key.id.as_deref().is_none_or(|own| own == id));
            key.algorithm == algorithm && named
        };
        self.current.borrow().keys.iter().filter(fits).cloned().collect()
    }

    /// Polls the file and reloads it when it has changed, until `stop` is cancelled. If it
    /// cannot be read, the previous keys stay in use and a warning is logged. An empty key
    /// set is valid: no token is accepted until the file contains a key again.
    pub(super) async fn reload(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await.is_some() {
            self.poll();
        }
    }

    /// Reloads the keys if the file has changed.
    pub(super) fn poll(&self) {
        let path = self.path.display();
        match load(&self.path) {
            Ok(loaded) if loaded.text == self.current.borrow().text => {}
            Ok(loaded) => {
                let keys = loaded.keys.len();
                if keys == 0 {
                    tracing::warn!(%path, "token keys reloaded: no key left, every token is rejected");
                } else {
                    tracing::info!(%path, keys, "token keys reloaded");
                }
                self.current.send_replace(loaded);
            }
            Err(error) => {
                tracing::warn!(%error, "token key reload failed; keeping the previous keys");
            }
        }
    }
}

fn load(path: &Path) -> Result<Loaded, KeyFileError> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| KeyFileError::Unreadable(name(), error))?;
    let keys = read(&text).map_err(|error| match error {
        ParseError::Format => KeyFileError::Unknown(name()),
        ParseError::Content(what) => KeyFileError::Unusable(name(), what),
    })?;
    Ok(Loaded { text: text.into(), keys: keys.into() })
}

/// Parses the keys in the text of a file.
pub(super) fn read(text: &str) -> Result<Vec<TokenKey>, ParseError> {
    if text.trim_start().starts_with('{') { of_jwks(text) } else { of_pem(text) }
}

/// The content of a key file is invalid.
pub(super) enum ParseError {
    Format,
    Content(String),
}

impl ParseError {
    fn content(what: &str) -> Self {
        Self::Content(what.to_owned())
    }
}

fn of_jwks(text: &str) -> Result<Vec<TokenKey>, ParseError> {
    let set: JwkSet = serde_json::from_str(text).map_err(|_| ParseError::Format)?;
    set.keys.iter().filter_map(|jwk| of_jwk(jwk).transpose()).collect()
}

/// The key of a JWK; `None` if it is not a signature key of a supported algorithm.
fn of_jwk(jwk: &Jwk) -> Result<Option<TokenKey>, ParseError> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => {
            return Err(ParseError::content("it holds a secret key"));
        }
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return Ok(None),
    };
    let signs = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
    // An issuer with keys for several algorithms states the algorithm of each key.
    let other = jwk.common.key_algorithm.is_some_and(|named| named.to_string() != name(algorithm));
    if !signs || other {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(jwk);
    let key = key.map_err(|_| ParseError::content("a key in it cannot be read"))?;
    let id = jwk.common.key_id.as_deref().unwrap_or_default();
    check_size(&key, &format!("the RSA key with the id `{}`", quoted(id)))?;
    Ok(Some(TokenKey { id: jwk.common.key_id.clone(), algorithm, key }))
}

fn name(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

fn of_pem(text: &str) -> Result<Vec<TokenKey>, ParseError> {
    const END: &str = "-----END ";
    if text.contains("PRIVATE KEY-----") {
        return Err(ParseError::content(
            "it holds a private key: only the public one belongs here",
        ));
    }
    if text.contains("BEGIN CERTIFICATE-----") {
        // The key of a TLS certificate must not sign tokens.
        return Err(ParseError::content("it holds a certificate: only public keys belong here"));
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        let block = rest.get(at..).unwrap_or_default();
        let end = block.find(END).and_then(|end| {
            let line = block.get(end..)?.find('\n').unwrap_or(block.len() - end);
            Some(end + line)
        });
        let (block, after) = block.split_at(end.ok_or(ParseError::Format)?);
        let key = of_pem_block(block.as_bytes())?;
        check_size(&key.key, &format!("key {} in it, an RSA key,", keys.len() + 1))?;
        keys.push(key);
        rest = after;
    }
    if keys.is_empty() { Err(ParseError::Format) } else { Ok(keys) }
}

fn of_pem_block(block: &[u8]) -> Result<TokenKey, ParseError> {
    type Read = fn(&[u8]) -> Result<DecodingKey, jsonwebtoken::errors::Error>;
    let kinds: [(Read, Algorithm); 3] = [
        (DecodingKey::from_ed_pem, Algorithm::EdDSA),
        (DecodingKey::from_ec_pem, Algorithm::ES256),
        (DecodingKey::from_rsa_pem, Algorithm::RS256),
    ];
    let key = kinds.into_iter().find_map(|(read, algorithm)| {
        Some(TokenKey { id: None, algorithm, key: read(block).ok()? })
    });
    key.ok_or_else(|| ParseError::content("a key in it is none of RSA, P-256 and Ed25519"))
}

/// Rejects an RSA key that is too short. `what` names the key in the message.
fn check_size(key: &DecodingKey, what: &str) -> Result<(), ParseError> {
    let modulus = match key.kind() {
        _ if key.family() != AlgorithmFamily::Rsa => return Ok(()),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.as_slice(),
        DecodingKeyKind::SecretOrDer(der) => {
            RSAPublicKey::from_der(der)
                .map_err(|_| ParseError::content("a key in it cannot be read"))?
                .1
                .modulus
        }
    };
    let bits = bits(modulus);
    if bits >= MIN_RSA_BITS {
        return Ok(());
    }
    Err(ParseError::Content(format!("{what} has {bits} bits; the minimum is {MIN_RSA_BITS}")))
}

/// Bits of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros());
    (number.len() - zeros) * 8 - usize::try_from(first).unwrap_or_default()
}

#[cfg(test)]
mod tests;
