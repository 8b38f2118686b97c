//! Signed tokens (JWT, RFC 7519): signing and verification.

use std::{path::PathBuf, pin::pin, str::FromStr, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, TokenData, Validation,
    errors::{Error, ErrorKind},
};
use tonic::Code;

pub use super::claims::{ALL, Audience, Claims};
use super::{
    certificate::{self, IMPORTS_SERVICE_NAME, product_name},
    claims::{LEEWAY_SECONDS, validate},
    headers::{self, MAX_USER, TOKEN_HEADER, unauthenticated},
    keys::{KeyFileError, TokenKeys},
    service::ServiceSecret,
};
use concord_core::{
    access::Role,
    caller::{
        ACCOUNT_HEADER, Account, Identity, PRACTICE_HEADER, PRODUCT_HEADER, Product, USER_HEADER,
    },
    ids::{self, IdKind},
    rules::text::line,
    status::ApiError,
};
use concord_proto::pb::records::ErrorReason;

/// The default audience.
pub const AUDIENCE: &str = "concord";

/// Maximum size of a token, in bytes. All metadata of a call must fit 16 kB.
const MAX_TOKEN: usize = 8 * 1_024;

/// A token cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key is not a supported private key.
    #[error(
        "not a private key in PEM format: it starts with -----BEGIN PRIVATE KEY----- and is an \
         Ed25519, a P-256 or an RSA key"
    )]
    Key,
    /// Signing failed.
    #[error("the token cannot be signed: {0}")]
    Signature(Error),
}

/// Signs a token with a private key in PEM format: Ed25519, P-256 or RSA.
///
/// # Errors
///
/// If the text is not such a key.
pub fn sign(claims: &Claims, private_key: &[u8]) -> Result<String, SignError> {
    type Read = fn(&[u8]) -> Result<EncodingKey, Error>;
    let kinds: [(Read, Algorithm); 3] = [
        (EncodingKey::from_ed_pem, Algorithm::EdDSA),
        (EncodingKey::from_ec_pem, Algorithm::ES256),
        (EncodingKey::from_rsa_pem, Algorithm::RS256),
    ];
    let key =
        kinds.into_iter().find_map(|(read, algorithm)| Some((read(private_key).ok()?, algorithm)));
    let (key, algorithm) = key.ok_or(SignError::Key)?;
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).map_err(SignError::Signature)
}

/// Reads the claims of a token without verification, for the holder of the token.
pub fn read(token: &str) -> Option<Claims> {
    jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
}

/// The tokens that a server accepts.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The file with the issuer's public keys: a JWKS, or PEM.
    pub keys: PathBuf,
    /// The required issuer.
    pub issuer: String,
    /// The required audience.
    pub audience: String,
    /// The shared secret, if the imports service may call.
    pub service_secret: Option<ServiceSecret>,
    /// Requires a client certificate for the product of the token on each connection.
    pub with_certificate: bool,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct TokenVerifier {
    keys: TokenKeys,
    issuer: String,
    audience: String,
    service_secret: Option<ServiceSecret>,
    with_certificate: bool,
}

impl TokenVerifier {
    /// Creates a verifier and loads its keys.
    ///
    /// # Errors
    ///
    /// If the key file cannot be read, or contains no usable key.
    pub fn new(settings: TokenSettings) -> Result<Self, KeyFileError> {
        let TokenSettings { keys, issuer, audience, service_secret, with_certificate } = settings;
        let keys = TokenKeys::open(keys)?;
        Ok(Self { keys, issuer, audience, service_secret, with_certificate })
    }

    pub(super) fn keys(&self) -> &TokenKeys {
        &self.keys
    }

    /// Verifies the token of a call and returns the identity.
    pub(super) fn identity(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Identity, ApiError> {
        let token = bearer(headers)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: a recipient must reject critical parameters that it does not
            // support.
            let text = "the token has critical header parameters (crit), and none is supported";
            return Err(unauthenticated(text));
        }
        if header.alg == Algorithm::HS256 {
            return self.service(token, extensions);
        }
        let claims = self.verify(token, &header)?;
        let identity = of_token(&claims, headers)?;
        if self.with_certificate {
            check_certificate(extensions, &product_name(identity.product.as_str()))?;
        }
        Ok(identity)
    }

    /// Verifies an on-behalf-of token of the imports service.
    fn service(&self, token: &str, extensions: &Extensions) -> Result<Identity, ApiError> {
        let secret = self.service_secret.as_ref();
        let secret = secret.ok_or_else(|| rejected(&ErrorKind::InvalidAlgorithm))?;
        let claims = secret.verify(token).map_err(|error| rejected(error.kind()))?;
        if self.with_certificate {
            check_certificate(extensions, IMPORTS_SERVICE_NAME)?;
        }
        of_service(&claims)
    }

    /// Waits until the accepted token in the metadata is no longer valid. `None` without a
    /// token.
    pub(super) fn until_expired(
        self: Arc<Self>,
        headers: &HeaderMap,
    ) -> Option<impl Future<Output = ApiError> + Send + use<>> {
        let token = bearer(headers).ok()?.to_owned();
        // The first second in which the token is rejected.
        let expires_at = read(&token)?.exp.saturating_add(LEEWAY_SECONDS + 1);
        let mut key_changes = self.keys.changes();
        // The keys may have changed since the token was accepted.
        key_changes.mark_changed();
        Some(async move {
            let left = expires_at.saturating_sub(jsonwebtoken::get_current_timestamp());
            let mut expiry = pin!(tokio::time::sleep(Duration::from_secs(left)));
            loop {
                tokio::select! {
                    () = &mut expiry => return rejected(&ErrorKind::ExpiredSignature),
                    Ok(()) = key_changes.changed() => {
                        if !self.accepts(&token) {
                            return expired("the key of the token was removed: get a new token");
                        }
                    }
                }
            }
        })
    }

    fn accepts(&self, token: &str) -> bool {
        let header = jsonwebtoken::decode_header(token);
        header.is_ok_and(|header| self.verify(token, &header).is_ok())
    }

    fn verify(&self, token: &str, header: &Header) -> Result<Claims, ApiError> {
        let mut outcome = rejected(&ErrorKind::InvalidSignature);
        for key in self.keys.candidates(header.alg, header.kid.as_deref()) {
            let mut validation = Validation::new(header.alg);
            validate(&mut validation, &self.issuer, &self.audience);
            match jsonwebtoken::decode(token, &key.key, &validation) {
                Ok(TokenData { claims, .. }) => return Ok(claims),
                Err(error) => match error.kind() {
                    // The token may be signed with another key.
                    ErrorKind::InvalidSignature => {}
                    kind => outcome = rejected(kind),
                },
            }
        }
        Err(outcome)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = || {
        unauthenticated(format!(
            "send a token in the metadata {TOKEN_HEADER}: Bearer and the token"
        ))
    };
    let text = headers::text(headers, TOKEN_HEADER)?.ok_or_else(missing)?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let token = token.trim();
    if token.len() > MAX_TOKEN {
        return Err(unauthenticated(format!("a token has at most {MAX_TOKEN} characters")));
    }
    Ok(token)
}

fn malformed() -> ApiError {
    unauthenticated("the token is not a well-formed JWT")
}

/// The error for a token that does not verify.
fn rejected(kind: &ErrorKind) -> ApiError {
    let text = match kind {
        ErrorKind::ExpiredSignature => return expired("the token has expired: get a new one"),
        ErrorKind::ImmatureSignature => "the token is not valid yet: check the clocks",
        ErrorKind::InvalidIssuer => "the token was issued by another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidAlgorithm => {
            "the token is signed with an unsupported algorithm: \
             use RS256, ES256 or EdDSA"
        }
        ErrorKind::InvalidSignature => "the token was signed with an unknown key",
        ErrorKind::MissingRequiredClaim(claim) => {
            return unauthenticated(format!("the token has no claim {claim}"));
        }
        ErrorKind::Json(_) => {
            "the claims of the token are invalid: \
             practice, product and roles are required"
        }
        _ => return malformed(),
    };
    unauthenticated(text)
}

/// `TOKEN_EXPIRED`: the token is no longer valid, and the caller needs a new one.
fn expired(text: &str) -> ApiError {
    ApiError::new(Code::Unauthenticated, ErrorReason::TokenExpired, text)
}

fn check_certificate(extensions: &Extensions, name: &str) -> Result<(), ApiError> {
    if certificate::has_name(extensions, name) {
        return Ok(());
    }
    Err(unauthenticated(format!("the client certificate is not for {name}, but the token is")))
}

/// The identity of a token of the issuer. The metadata must be within its claims.
fn of_token(claims: &Claims, headers: &HeaderMap) -> Result<Identity, ApiError> {
    let roles = roles(claims)?;
    if roles.contains(&Role::Service) {
        return Err(unauthenticated(
            "the role service is reserved for tokens of the imports service",
        ));
    }
    let practice = scoped(headers, PRACTICE_HEADER, &claims.practice, "practice")?;
    let product = within(headers::product(headers)?, product(claims)?, PRODUCT_HEADER)?;
    let account = claims.account.as_deref().unwrap_or(Account::main().as_str()).to_owned();
    let account = scoped(headers, ACCOUNT_HEADER, &account, "account")?;
    Ok(Identity {
        user: user(claims, headers)?,
        practice,
        product,
        account: account.unwrap_or_else(Account::main),
        roles,
        import: None,
    })
}

fn of_service(claims: &Claims) -> Result<Identity, ApiError> {
    let import = claims.import.as_deref();
    let import = import.map(|id| ids::parse(IdKind::Import, id).ok_or_else(malformed));
    let account = claims.account.as_deref().map(|account| claim(account, "account"));
    Ok(Identity {
        practice: Some(claim(&claims.practice, "practice")?),
        product: product(claims)?,
        account: account.transpose()?.unwrap_or_else(Account::main),
        user: subject(claims)?,
        roles: vec![Role::Service],
        import: import.transpose()?,
    })
}

/// The name in the claim. If the claim is [`ALL`], the name in the metadata, if any.
fn scoped<T: FromStr<Err = &'static str> + PartialEq>(
    headers: &HeaderMap,
    header: &str,
    claimed: &str,
    what: &str,
) -> Result<Option<T>, ApiError> {
    let named = headers::parsed(headers, header)?;
    if claimed == ALL { Ok(named) } else { within(named, claim(claimed, what)?, header).map(Some) }
}

/// The claim, if the metadata name nothing else.
fn within<T: PartialEq>(named: Option<T>, claimed: T, header: &str) -> Result<T, ApiError> {
    if named.is_none_or(|named| named == claimed) {
        return Ok(claimed);
    }
    let text = format!("the token is for another value than the metadata {header}");
    Err(ApiError::new(Code::PermissionDenied, ErrorReason::CredentialScope, text))
}

fn claim<T: FromStr<Err = &'static str>>(text: &str, what: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| unauthenticated(format!("the claim {what} of the token: {error}")))
}

fn product(claims: &Claims) -> Result<Product, ApiError> {
    let product = Product::parse_unreserved(&claims.product);
    product.map_err(|error| unauthenticated(format!("the claim product of the token: {error}")))
}

fn roles(claims: &Claims) -> Result<Vec<Role>, ApiError> {
    let roles = claims.roles.iter().map(|role| role.parse::<Role>());
    let roles = roles.collect::<Result<Vec<_>, _>>();
    roles.map_err(|error| unauthenticated(format!("the claim roles of the token: {error}")))
}

/// The claim `sub`, which the audit log shows.
fn subject(claims: &Claims) -> Result<String, ApiError> {
    let subject = line("the claim sub of the token", &claims.sub, MAX_USER);
    subject.map_err(|error| unauthenticated(error.text))
}

/// The user of the token. A backend with a token for all practices names the user in the
/// metadata.
fn user(claims: &Claims, headers: &HeaderMap) -> Result<String, ApiError> {
    let (named, subject) = (headers::user(headers)?, subject(claims)?);
    match named.as_str() {
        "" => Ok(subject),
        _ if claims.practice == ALL => Ok(named),
        _ => within(Some(named), subject, USER_HEADER),
    }
}

#[cfg(test)]
mod tests;
