//! The claims of a token, and the checks that apply to all tokens.

use jsonwebtoken::Validation;
use serde::{Deserialize, Serialize};

/// The claim value for all practices, or all accounts, of the product. Each call names one.
pub const ALL: &str = "*";

/// Allowed clock skew between issuer and server, in seconds.
pub(super) const LEEWAY_SECONDS: u64 = 30;

/// The claims of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: Audience,
    /// The time of issue, in seconds since 1970.
    #[serde(default)]
    pub iat: u64,
    /// The time of expiry, in seconds since 1970.
    pub exp: u64,
    /// The user; empty for a backend.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// The practice; [`ALL`] for all practices of the product.
    pub practice: String,
    /// The product.
    pub product: String,
    /// The account: default `main`, [`ALL`] for all accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The roles of the holder.
    pub roles: Vec<String>,
    /// In a token of the imports service: the import that the call is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<String>,
}

/// One audience, or several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several audiences.
    Several(Vec<String>),
}

impl From<&str> for Audience {
    fn from(audience: &str) -> Self {
        Self::One(audience.to_owned())
    }
}

/// Configures the checks of issuer, audience and time.
pub(super) fn validate(validation: &mut Validation, issuer: &str, audience: &str) {
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY_SECONDS;
}
