//! How callers prove who they are.
//!
//! [`Credentials`] are what a server believes: signed tokens, or headers that
//! anyone can write, on a loopback address only. Who calls is found out before a
//! handler runs, and held against the table of [`access`](crate::access).

mod certificate;
mod development;
#[cfg(test)]
mod fuzz;
mod headers;
mod keys;
mod service;
pub mod tokens;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Extensions, HeaderMap};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    access::{Role, Rpc, Scope, rule},
    caller::{Identity, REASON_HEADER, practice_required},
    pb::records::ErrorReason,
    rules::text::normalise,
    status::Refusal,
};
pub use certificate::{IMPORTS_SERVICE_NAME, product_name};
#[cfg(test)]
pub(crate) use headers::MAX_USER;
pub use keys::{KeyFileError, TokenKeys};
pub use service::{OnBehalf, ServiceSecret, ServiceSecretError};
pub use tokens::{TokenSettings, TokenVerifier};

/// The metadata that holds a token: `Bearer` and the token.
pub const TOKEN_HEADER: &str = "authorization";

/// What a server believes about its callers.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Headers that anyone can write; only for a loopback address.
    Development,
    /// Signed tokens.
    Tokens(Arc<TokenVerifier>),
}

impl Credentials {
    /// Who makes the call, if the table of roles allows it. `extensions` are those
    /// of the request: they hold the client certificate of its connection.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` without a usable identity, `PERMISSION_DENIED` when no role
    /// of the caller may make the call or the practice is not the caller's,
    /// `INVALID_ARGUMENT` when a practice is needed and none is named.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        rpc: Rpc,
    ) -> Result<Identity, Refusal> {
        headers::check_single(headers)?;
        let identity = match self {
            Self::Development => development::identity(headers)?,
            Self::Tokens(verifier) => verifier.identity(headers, extensions)?,
        };
        let rule = rule(rpc);
        check_roles(&identity.roles, rule.roles)?;
        if rule.scope == Scope::Practice && identity.practice.is_none() {
            return Err(practice_required());
        }
        Ok(identity)
    }

    /// Whether a caller has a token of any role, where tokens are checked.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` without one.
    pub(crate) fn check_token(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(), Refusal> {
        match self {
            Self::Development => Ok(()),
            Self::Tokens(verifier) => verifier.identity(headers, extensions).map(drop),
        }
    }

    /// Waits until the credential of a call that was let in is no longer accepted: its
    /// token has expired, or the key that signed it was removed. The refusal then asks for
    /// a new token.
    ///
    /// `None` for development identity, which has no end.
    pub(crate) fn end_of(&self, headers: &HeaderMap) -> Option<BoxFuture<'static, Refusal>> {
        match self {
            Self::Development => None,
            Self::Tokens(verifier) => Some(Box::pin(Arc::clone(verifier).end_of(headers)?)),
        }
    }

    /// Takes new keys when their file changes, until `stop` is cancelled.
    pub async fn keep_current(self, stop: CancellationToken) {
        if let Self::Tokens(verifier) = self {
            verifier.keys().keep_current(stop).await;
        }
    }
}

/// Why support makes a call: 3 to 200 characters of the metadata.
///
/// # Errors
///
/// `INVALID_ARGUMENT` without.
pub(crate) fn support_reason(headers: &HeaderMap) -> Result<String, Refusal> {
    let reason = normalise(headers::text(headers, REASON_HEADER)?.unwrap_or_default());
    if (3..=200).contains(&reason.len()) {
        return Ok(reason);
    }
    let text = format!(
        "support reads with a reason, which is kept: say why in the metadata {REASON_HEADER}, in \
         3 to 200 characters, such as the number of a ticket; name nobody in it"
    );
    let reason = ErrorReason::ReadingReasonRequired;
    Err(Refusal::new(Code::InvalidArgument, reason, text))
}

/// Whether a caller in the roles `held` has one of those that are `needed`.
///
/// # Errors
///
/// `PERMISSION_DENIED` with the roles that are needed.
pub fn check_roles(held: &[Role], needed: &[Role]) -> Result<(), Refusal> {
    if held.iter().any(|role| needed.contains(role)) {
        return Ok(());
    }
    let needed = needed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(Refusal::new(
        Code::PermissionDenied,
        ErrorReason::RoleNotAllowed,
        format!("this call needs one of the roles {needed}"),
    )
    .with("roles", needed))
}

fn unauthenticated(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::Unauthenticated, ErrorReason::Unauthenticated, message)
}
