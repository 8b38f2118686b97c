//! The public keys that tokens are checked with: a file, read again when it
//! changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use tokio_util::sync::CancellationToken;

/// How often to look whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The file holds no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("the token keys {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// It is neither form.
    #[error(
        "the token keys {0} are neither a JWKS nor PEM: a JWKS begins with {{\"keys\": …, and PEM \
         with -----BEGIN PUBLIC KEY-----"
    )]
    Unknown(String),
    /// It holds something that must not be there.
    #[error("the token keys {0}: {1}")]
    Unusable(String, &'static str),
}

/// One public key.
#[derive(Clone)]
pub(super) struct TokenKey {
    /// How tokens name it; those of a PEM file have no names.
    id: Option<String>,
    algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of a file, as it is now.
pub struct TokenKeys {
    path: PathBuf,
    current: RwLock<Loaded>,
}

/// The keys, and the text that they were read from.
#[derive(Clone)]
struct Loaded {
    text: Arc<str>,
    keys: Arc<[TokenKey]>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Reads the file.
    pub(super) fn open(path: PathBuf) -> Result<Self, KeyFileError> {
        let current = RwLock::new(load(&path)?);
        Ok(Self { path, current })
    }

    /// The keys that may have signed a token of this algorithm and key id.
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<TokenKey> {
        let fits = |key: &&TokenKey| {
            let named = id.is_none_or(|id| key.id.as_deref().is_none_or(|own| own == id));
            key.algorithm == algorithm && named
        };
        self.current().keys.iter().filter(fits).cloned().collect()
    }

    /// Reads the file again whenever it has changed, until `stop` is cancelled. When
    /// what it holds then cannot be used, the keys stay as they are, and the log says
    /// so.
    pub(super) async fn keep_current(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            self.look();
        }
    }

    /// Takes the keys of the file, if they are others.
    fn look(&self) {
        let path = self.path.display();
        match load(&self.path) {
            Ok(loaded) if loaded.text == self.current().text => {}
            Ok(loaded) => {
                tracing::info!(%path, keys = loaded.keys.len(), "the token keys have changed");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
            }
            Err(error) => tracing::warn!(%error, "the token keys stay as they were"),
        }
    }

    fn current(&self) -> Loaded {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn load(path: &Path) -> Result<Loaded, KeyFileError> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| KeyFileError::Unreadable(name(), error))?;
    let keys = read(&text).map_err(|fault| match fault {
        Fault::Form => KeyFileError::Unknown(name()),
        Fault::Content(what) => KeyFileError::Unusable(name(), what),
    })?;
    if keys.is_empty() {
        let what = "no key in it can be used: they are RSA, P-256 or Ed25519 keys for signatures";
        return Err(KeyFileError::Unusable(name(), what));
    }
    Ok(Loaded { text: text.into(), keys: keys.into() })
}

/// The keys in the text of a file.
pub(super) fn read(text: &str) -> Result<Vec<TokenKey>, Fault> {
    if text.trim_start().starts_with('{') { of_jwks(text) } else { of_pem(text) }
}

/// What is wrong with a file.
pub(super) enum Fault {
    Form,
    Content(&'static str),
}

fn of_jwks(text: &str) -> Result<Vec<TokenKey>, Fault> {
    let set: JwkSet = serde_json::from_str(text).map_err(|_| Fault::Form)?;
    set.keys.iter().filter_map(|jwk| of_jwk(jwk).transpose()).collect()
}

/// The key, when it is for signatures of a kind that is used here.
fn of_jwk(jwk: &Jwk) -> Result<Option<TokenKey>, Fault> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => return Err(Fault::Content("it holds a secret key")),
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
    // An issuer of keys for several algorithms says which one each is for.
    let other = jwk.common.key_algorithm.is_some_and(|named| named.to_string() != name(algorithm));
    if !signs || other {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(jwk);
    let key = key.map_err(|_| Fault::Content("a key in it cannot be read"))?;
    Ok(Some(TokenKey { id: jwk.common.key_id.clone(), algorithm, key }))
}

fn name(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

fn of_pem(text: &str) -> Result<Vec<TokenKey>, Fault> {
    const END: &str = "-----END ";
    if text.contains("PRIVATE KEY-----") {
        return Err(Fault::Content("it holds a private key: only the public one belongs here"));
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        let block = rest.get(at..).unwrap_or_default();
        let end = block.find(END).and_then(|end| {
            let line = block.get(end..)?.find('\n').unwrap_or(block.len() - end);
            Some(end + line)
        });
        let (block, after) = block.split_at(end.ok_or(Fault::Form)?);
        keys.push(of_pem_block(block.as_bytes())?);
        rest = after;
    }
    if keys.is_empty() { Err(Fault::Form) } else { Ok(keys) }
}

fn of_pem_block(block: &[u8]) -> Result<TokenKey, Fault> {
    type Read = fn(&[u8]) -> Result<DecodingKey, jsonwebtoken::errors::Error>;
    let kinds: [(Read, Algorithm); 3] = [
        (DecodingKey::from_ed_pem, Algorithm::EdDSA),
        (DecodingKey::from_ec_pem, Algorithm::ES256),
        (DecodingKey::from_rsa_pem, Algorithm::RS256),
    ];
    let key = kinds.into_iter().find_map(|(read, algorithm)| {
        Some(TokenKey { id: None, algorithm, key: read(block).ok()? })
    });
    key.ok_or(Fault::Content("a key in it is none of RSA, P-256 and Ed25519"))
}

#[cfg(test)]
mod tests;
