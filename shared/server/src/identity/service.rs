//! Authentication of the imports service at the records service.
//!
//! The services share a secret. The imports service signs an on-behalf-of token for each
//! call (HMAC). The issuer of the users' tokens cannot sign such a token.

use std::{fmt, fs, io, path::Path, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use super::{
    claims::{Claims, validate},
    headers::MAX_USER,
};
use concord_core::rules::text::shorten;

/// The issuer of the tokens of the imports service.
pub(super) const ISSUER: &str = "concord-imports";
/// The audience of these tokens.
pub(super) const AUDIENCE: &str = "concord-records";

/// Lifetime of a token, in seconds. A call is sent immediately.
const VALID_SECONDS: u64 = 120;

/// Minimum size of a secret, in bytes: the size of the HMAC (RFC 7518, 3.2).
const MIN_BYTES: usize = 32;

/// The shared secret of the services.
#[derive(Clone)]
pub struct ServiceSecret {
    /// The first secret signs. All are accepted, which allows rotation.
    secrets: Arc<[Vec<u8>]>,
}

impl fmt::Debug for ServiceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceSecret")
    }
}

/// The file contains no usable secret.
#[derive(Debug, thiserror::Error)]
pub enum ServiceSecretError {
    /// The file cannot be read.
    #[error("the service secret {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// A secret is too short.
    #[error(
        "the service secret {0} is too short: a line of at least {MIN_BYTES} random characters, \
         such as `openssl rand -hex 32` prints"
    )]
    TooShort(String),
}

impl ServiceSecret {
    /// Generates a secret for services in one process.
    ///
    /// # Errors
    ///
    /// If the system provides no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = vec![0; MIN_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Self { secrets: Arc::new([secret]) })
    }

    /// Reads the secrets in a file, one per line. The first one signs; all are accepted. To
    /// rotate: append the new secret for the records service, then prepend it for the imports
    /// service, then remove the old one.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a secret in it is too short.
    pub fn read(path: &Path) -> Result<Self, ServiceSecretError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| ServiceSecretError::Unreadable(name(), error))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets: Vec<Vec<u8>> = lines.map(|line| line.as_bytes().to_vec()).collect();
        if secrets.is_empty() || secrets.iter().any(|secret| secret.len() < MIN_BYTES) {
            return Err(ServiceSecretError::TooShort(name()));
        }
        Ok(Self { secrets: secrets.into() })
    }

    /// Signs a token.
    pub(super) fn sign(&self, claims: &Claims) -> Option<String> {
        let key = EncodingKey::from_secret(self.secrets.first()?);
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).ok()
    }

    /// Verifies a token and returns its claims.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, jsonwebtoken::errors::Error> {
        let mut validation = Validation::new(Algorithm::HS256);
        validate(&mut validation, ISSUER, AUDIENCE);
        let mut outcome = Err(jsonwebtoken::errors::ErrorKind::InvalidSignature.into());
        for secret in self.secrets.iter() {
            let key = DecodingKey::from_secret(secret);
            match jsonwebtoken::decode::<Claims>(token, &key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}

/// The caller on whose behalf the imports service calls.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// The practice.
    pub practice: String,
    /// The product of the import.
    pub product: String,
    /// Its account.
    pub account: String,
    /// The user who created the import.
    pub user: String,
    /// The import, `imp_…`; `None` before it is created.
    pub import: Option<String>,
}

impl OnBehalf {
    /// Signs an on-behalf-of token for one call; `None` if that fails.
    pub fn token(&self, secret: &ServiceSecret) -> Option<String> {
        // Imports of an older version may have a user that is not valid in a token.
        let user = shorten(&self.user, MAX_USER);
        let now = jsonwebtoken::get_current_timestamp();
        secret.sign(&Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.into(),
            iat: now,
            exp: now + VALID_SECONDS,
            sub: user,
            practice: self.practice.clone(),
            product: self.product.clone(),
            account: Some(self.account.clone()),
            roles: vec!["service".to_owned()],
            import: self.import.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behalf() -> OnBehalf {
        OnBehalf {
            practice: "p1".into(),
            product: "manager".into(),
            account: "main".into(),
            user: "olivia".into(),
            import: None,
        }
    }

    #[test]
    fn token_of_another_secret_is_rejected() {
        let (ours, other) = (ServiceSecret::random().unwrap(), ServiceSecret::random().unwrap());
        let token = behalf().token(&ours).unwrap();
        assert_eq!(ours.verify(&token).unwrap().product, "manager");
        assert!(other.verify(&token).is_err());
    }

    #[test]
    fn secret_rotates_without_downtime() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            ServiceSecret::read(&path)
        };
        let (old, new) = ("o".repeat(32), "n".repeat(32));
        let before = read("before", &old).unwrap();
        let records = read("records", &format!("{old}\n{new}\n")).unwrap();
        let after = read("after", &format!("{new}\n")).unwrap();
        for imports in [before, after] {
            assert!(records.verify(&behalf().token(&imports).unwrap()).is_ok());
        }
        let short = read("short", "secret").unwrap_err().to_string();
        assert!(short.contains("at least 32"), "{short}");
        assert!(read("empty", "\n").is_err());
    }
}
