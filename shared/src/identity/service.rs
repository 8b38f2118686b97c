//! The imports service towards the records service.
//!
//! Both know a secret. The imports service signs a token of its own for each call,
//! which says on whose behalf it calls; nobody else can make one, whatever keys the
//! issuer of the users' tokens has.

use std::{fmt, fs, io, path::Path, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use super::{
    headers::MAX_USER,
    tokens::{self, Claims},
};
use crate::rules::text::shorten;

/// The issuer of the imports service's tokens.
pub(super) const ISSUER: &str = "concord-imports";
/// Whom they are for.
pub(super) const AUDIENCE: &str = "concord-records";

/// How long such a token may be used, in seconds: a call is sent at once.
const VALID_SECONDS: u64 = 120;

/// The shortest secret, in bytes: as long as the code that it makes (RFC 7518,
/// 3.2).
const MIN_BYTES: usize = 32;

/// The secret that both services share.
#[derive(Clone)]
pub struct ServiceSecret {
    /// The first one signs; all are believed, so that one can follow another.
    secrets: Arc<[Vec<u8>]>,
}

impl fmt::Debug for ServiceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceSecret")
    }
}

/// The file holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ServiceSecretError {
    /// It cannot be read.
    #[error("the service secret {0} cannot be read: {1}")]
    Unreadable(String, io::Error),
    /// What it holds could be guessed.
    #[error(
        "the service secret {0} is too short: a line of at least {MIN_BYTES} random characters, \
         such as `openssl rand -hex 32` prints"
    )]
    TooShort(String),
}

impl ServiceSecret {
    /// A secret for services in one process.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = vec![0; MIN_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Self { secrets: Arc::new([secret]) })
    }

    /// The secrets in a file, one a line: the first one signs, and all are
    /// believed. To change it: put the new one below on the records side, then
    /// above on the imports side, then take the old one away.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a secret in it is too short.
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

    /// A token for one call.
    pub(super) fn sign(&self, claims: &Claims) -> Option<String> {
        let key = EncodingKey::from_secret(self.secrets.first()?);
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).ok()
    }

    /// What a token says that one of the secrets has signed.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, jsonwebtoken::errors::Error> {
        let mut validation = Validation::new(Algorithm::HS256);
        tokens::validate(&mut validation, ISSUER, AUDIENCE);
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

/// For whom the imports service calls.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    /// The practice.
    pub practice: String,
    /// The product whose import it is.
    pub product: String,
    /// Its account.
    pub account: String,
    /// The user who has created the import.
    pub user: String,
    /// The import, `imp_…`; none before it is there.
    pub import: Option<String>,
}

impl OnBehalf {
    /// A token for one call, signed with the secret; none when it cannot be signed.
    pub fn token(&self, secret: &ServiceSecret) -> Option<String> {
        // Imports of an older version may have a user whom no token can name any longer.
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
    fn only_the_secret_makes_a_token() {
        let (ours, other) = (ServiceSecret::random().unwrap(), ServiceSecret::random().unwrap());
        let token = behalf().token(&ours).unwrap();
        assert_eq!(ours.verify(&token).unwrap().product, "manager");
        assert!(other.verify(&token).is_err());
    }

    #[test]
    fn a_new_secret_follows_the_old_one_without_a_pause() {
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
