//! Signed tokens (RFC 7519): what one says, and whether to believe it.

use std::{path::PathBuf, pin::pin, str::FromStr, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, TokenData, Validation,
    errors::{Error, ErrorKind},
};
use serde::{Deserialize, Serialize};
use tonic::Code;

use super::{
    ServiceSecret, TOKEN_HEADER,
    certificate::{self, IMPORTS_SERVICE_NAME},
    headers::{self, MAX_USER},
    keys::{KeyFileError, TokenKeys},
    product_name, unauthenticated,
};
use crate::{
    access::Role,
    caller::{
        ACCOUNT_HEADER, Account, Identity, PRACTICE_HEADER, PRODUCT_HEADER, Product, USER_HEADER,
    },
    ids::{self, IdKind},
    pb::records::ErrorReason,
    rules::text::line,
    status::Refusal,
};

/// The claim of a token that is for all practices of its product, or for all of its
/// accounts: each call names one.
pub const ALL: &str = "*";

/// Whom a token must be for, unless the operator says otherwise.
pub const AUDIENCE: &str = "concord";

/// Bytes of a token at most: all metadata of a call must fit 16 kB.
const MAX_TOKEN: usize = 8 * 1_024;

/// How far the clocks of issuer and server may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 30;

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who has issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: Audience,
    /// When it was issued, in seconds since 1970.
    #[serde(default)]
    pub iat: u64,
    /// When it expires, in seconds since 1970.
    pub exp: u64,
    /// The user; empty for a backend.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// The practice; [`ALL`] for all practices of the product.
    pub practice: String,
    /// The product.
    pub product: String,
    /// Its account: `main` without it, [`ALL`] for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What its holder may be.
    pub roles: Vec<String>,
    /// Of a call by the imports service: the import that it is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<String>,
}

/// One audience, or several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl From<&str> for Audience {
    fn from(audience: &str) -> Self {
        Self::One(audience.to_owned())
    }
}

/// A key signs no token.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is no private key.
    #[error(
        "not a private key in PEM form: it begins with -----BEGIN PRIVATE KEY----- and is an \
         Ed25519, a P-256 or an RSA key"
    )]
    Key,
    /// It does not sign.
    #[error("the token cannot be signed: {0}")]
    Signature(Error),
}

/// Signs a token with a private key in PEM form: Ed25519, P-256, or RSA.
///
/// # Errors
///
/// When the text is no such key.
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

/// What a token says, believed as it is: for those who hold one and want to know
/// what it is for.
pub fn read(token: &str) -> Option<Claims> {
    jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
}

/// Which tokens a server believes.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The file with the issuer's public keys: a JWKS, or PEM.
    pub keys: PathBuf,
    /// Who must have issued them.
    pub issuer: String,
    /// Whom they must be for.
    pub audience: String,
    /// The secret of the imports service, where it may call.
    pub service_secret: Option<ServiceSecret>,
    /// Whether each connection has a client certificate, which must be for the
    /// product of the token.
    pub with_certificate: bool,
}

/// Checks tokens.
#[derive(Debug)]
pub struct TokenVerifier {
    keys: TokenKeys,
    issuer: String,
    audience: String,
    service_secret: Option<ServiceSecret>,
    with_certificate: bool,
}

impl TokenVerifier {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// When their file cannot be read, or holds no key that can be used.
    pub fn new(settings: TokenSettings) -> Result<Self, KeyFileError> {
        let TokenSettings { keys, issuer, audience, service_secret, with_certificate } = settings;
        let keys = TokenKeys::open(keys)?;
        Ok(Self { keys, issuer, audience, service_secret, with_certificate })
    }

    pub(super) fn keys(&self) -> &TokenKeys {
        &self.keys
    }

    /// Who makes the call.
    pub(super) fn identity(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Identity, Refusal> {
        let token = bearer(headers)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
        if header.crit.is_some() {
            // RFC 7515, 4.1.11: the issuer wants it refused by whoever does not know them.
            let text = "the token has critical header parameters (crit), and none is known here";
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

    /// The imports service, on behalf of whoever its own token names.
    fn service(&self, token: &str, extensions: &Extensions) -> Result<Identity, Refusal> {
        let secret = self.service_secret.as_ref();
        let secret = secret.ok_or_else(|| refused(&ErrorKind::InvalidAlgorithm))?;
        let claims = secret.verify(token).map_err(|error| refused(error.kind()))?;
        if self.with_certificate {
            check_certificate(extensions, IMPORTS_SERVICE_NAME)?;
        }
        of_service(&claims)
    }

    /// Waits until the token in the metadata, which was accepted, no longer is. `None` when
    /// there is no token.
    pub(super) fn end_of(
        self: Arc<Self>,
        headers: &HeaderMap,
    ) -> Option<impl Future<Output = Refusal> + Send + use<>> {
        let token = bearer(headers).ok()?.to_owned();
        // The first second in which a call with it is refused.
        let end = read(&token)?.exp.saturating_add(LEEWAY_SECONDS + 1);
        let mut key_changes = self.keys.changes();
        // They may have changed since the token was accepted.
        key_changes.mark_changed();
        Some(async move {
            let left = end.saturating_sub(jsonwebtoken::get_current_timestamp());
            let mut expiry = pin!(tokio::time::sleep(Duration::from_secs(left)));
            loop {
                tokio::select! {
                    () = &mut expiry => return refused(&ErrorKind::ExpiredSignature),
                    Ok(()) = key_changes.changed() => {
                        if !self.accepts(&token) {
                            return ended("the key of the token was removed: get a new token");
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

    fn verify(&self, token: &str, header: &Header) -> Result<Claims, Refusal> {
        let mut outcome = refused(&ErrorKind::InvalidSignature);
        for key in self.keys.candidates(header.alg, header.kid.as_deref()) {
            let mut validation = Validation::new(header.alg);
            validate(&mut validation, &self.issuer, &self.audience);
            match jsonwebtoken::decode(token, &key.key, &validation) {
                Ok(TokenData { claims, .. }) => return Ok(claims),
                Err(error) => match error.kind() {
                    // Another key may have signed it.
                    ErrorKind::InvalidSignature => {}
                    kind => outcome = refused(kind),
                },
            }
        }
        Err(outcome)
    }
}

/// Has issuer, audience and time checked.
pub(super) fn validate(validation: &mut Validation, issuer: &str, audience: &str) {
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY_SECONDS;
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || {
        unauthenticated(format!("send a token: the metadata {TOKEN_HEADER}, with Bearer and it"))
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

fn malformed() -> Refusal {
    unauthenticated("the token is not a JWT that can be read")
}

/// What is wrong with a token, in words that its holder can act on.
fn refused(kind: &ErrorKind) -> Refusal {
    let text = match kind {
        ErrorKind::ExpiredSignature => return ended("the token has expired: get a new one"),
        ErrorKind::ImmatureSignature => "the token is not valid yet: look at the clocks",
        ErrorKind::InvalidIssuer => "the token was issued by another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidAlgorithm => {
            "the token is signed with an algorithm that is not used here: \
             RS256, ES256 and EdDSA are"
        }
        ErrorKind::InvalidSignature => "the token was signed with a key that is not known here",
        ErrorKind::MissingRequiredClaim(claim) => {
            return unauthenticated(format!("the token lacks the claim {claim}"));
        }
        ErrorKind::Json(_) => {
            "the claims of the token are not those of Concord: \
             practice, product and roles are needed"
        }
        _ => return malformed(),
    };
    unauthenticated(text)
}

/// The token is accepted no longer, and its holder needs a new one.
fn ended(text: &str) -> Refusal {
    Refusal::new(Code::Unauthenticated, ErrorReason::TokenExpired, text)
}

fn check_certificate(extensions: &Extensions, name: &str) -> Result<(), Refusal> {
    if certificate::has_name(extensions, name) {
        return Ok(());
    }
    Err(unauthenticated(format!("the client certificate is not for {name}, and the token is")))
}

/// Who holds a token of the issuer. What the metadata name must be within it.
fn of_token(claims: &Claims, headers: &HeaderMap) -> Result<Identity, Refusal> {
    let roles = roles(claims)?;
    if roles.contains(&Role::Service) {
        return Err(unauthenticated("the role service is for the imports service's own tokens"));
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

fn of_service(claims: &Claims) -> Result<Identity, Refusal> {
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

/// The name that the token is for; of a token that is for all, the one that the
/// metadata name, if they do.
fn scoped<T: FromStr<Err = &'static str> + PartialEq>(
    headers: &HeaderMap,
    header: &str,
    claimed: &str,
    what: &str,
) -> Result<Option<T>, Refusal> {
    let named = headers::parsed(headers, header)?;
    if claimed == ALL { Ok(named) } else { within(named, claim(claimed, what)?, header).map(Some) }
}

/// The claim, unless the metadata name something else.
fn within<T: PartialEq>(named: Option<T>, claimed: T, header: &str) -> Result<T, Refusal> {
    if named.is_none_or(|named| named == claimed) {
        return Ok(claimed);
    }
    let text = format!("the token is for another one than {header} names");
    Err(Refusal::new(Code::PermissionDenied, ErrorReason::CredentialScope, text))
}

fn claim<T: FromStr<Err = &'static str>>(text: &str, what: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error| unauthenticated(format!("the claim {what} of the token: {error}")))
}

fn product(claims: &Claims) -> Result<Product, Refusal> {
    let product = Product::claimed(&claims.product);
    product.map_err(|error| unauthenticated(format!("the claim product of the token: {error}")))
}

fn roles(claims: &Claims) -> Result<Vec<Role>, Refusal> {
    let roles = claims.roles.iter().map(|role| role.parse::<Role>());
    let roles = roles.collect::<Result<Vec<_>, _>>();
    roles.map_err(|error| unauthenticated(format!("the claim roles of the token: {error}")))
}

/// The claim `sub`, which is shown to people wherever the audit is.
fn subject(claims: &Claims) -> Result<String, Refusal> {
    let subject = line("the claim sub of the token", &claims.sub, MAX_USER);
    subject.map_err(|problem| unauthenticated(problem.text))
}

/// The user of the token. A backend, whose token is for all practices, says for
/// whom it calls.
fn user(claims: &Claims, headers: &HeaderMap) -> Result<String, Refusal> {
    let (named, subject) = (headers::user(headers)?, subject(claims)?);
    match named.as_str() {
        "" => Ok(subject),
        _ if claims.practice == ALL => Ok(named),
        _ => within(Some(named), subject, USER_HEADER),
    }
}

#[cfg(test)]
mod tests;
