//! Authentication of callers, and authorisation by role.
//!
//! A server accepts signed tokens (JWT), or on a loopback address only the unsigned headers
//! of development identity; see [`Credentials`]. A call is authenticated and checked
//! against the roles in [`access`](concord_core::access) before its handler runs.

mod certificate;
mod claims;
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

pub use certificate::{IMPORTS_SERVICE_NAME, product_name};
use concord_core::{
    access::{CallScope, Role, rule},
    caller::{Identity, REASON_HEADER, practice_required},
    rules::text::normalise,
    status::ApiError,
};
use concord_proto::{pb::records::ErrorReason, rpc::Rpc};
#[cfg(test)]
pub(crate) use headers::MAX_USER;
pub use headers::TOKEN_HEADER;
pub use keys::{KeyFileError, TokenKeys};
pub use service::{OnBehalf, ServiceSecret, ServiceSecretError};
pub use tokens::{TokenSettings, TokenVerifier};

/// The kind of credentials that a server accepts.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Unsigned headers; for a loopback address only.
    Development,
    /// Signed tokens.
    Tokens(Arc<TokenVerifier>),
}

impl Credentials {
    /// Authenticates a call and checks the roles of its caller. `extensions` of the request
    /// contain the client certificate of the connection.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` without a valid identity, `PERMISSION_DENIED` if no role of the
    /// caller allows the call or the practice is outside of the token, `INVALID_ARGUMENT` if
    /// the call needs a practice and names none.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        rpc: Rpc,
    ) -> Result<Identity, ApiError> {
        headers::check_single(headers)?;
        let identity = match self {
            Self::Development => development::identity(headers)?,
            Self::Tokens(verifier) => verifier.identity(headers, extensions)?,
        };
        let rule = rule(rpc);
        check_roles(&identity.roles, rule.roles)?;
        if rule.scope == CallScope::Practice && identity.practice.is_none() {
            return Err(practice_required());
        }
        Ok(identity)
    }

    /// Checks that the caller has a valid token, with any role. Development identity passes.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` without a valid token.
    pub(crate) fn check_token(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<(), ApiError> {
        match self {
            Self::Development => Ok(()),
            Self::Tokens(verifier) => verifier.identity(headers, extensions).map(drop),
        }
    }

    /// Waits until the credential of an admitted call is no longer valid: the token has
    /// expired, or its key was removed. Returns the error for the call.
    ///
    /// `None` for development identity, which does not expire.
    pub(crate) fn until_expired(
        &self,
        headers: &HeaderMap,
    ) -> Option<BoxFuture<'static, ApiError>> {
        match self {
            Self::Development => None,
            Self::Tokens(verifier) => Some(Box::pin(Arc::clone(verifier).until_expired(headers)?)),
        }
    }

    /// Reloads the token keys when their file changes, until `stop` is cancelled.
    pub async fn reload_keys(self, stop: CancellationToken) {
        if let Self::Tokens(verifier) = self {
            verifier.keys().reload(stop).await;
        }
    }
}

/// The reason of a support access: 3 to 200 characters, from the metadata.
///
/// # Errors
///
/// `INVALID_ARGUMENT` without a reason.
pub(crate) fn support_reason(headers: &HeaderMap) -> Result<String, ApiError> {
    let reason = normalise(headers::text(headers, REASON_HEADER)?.unwrap_or_default());
    if (3..=200).contains(&reason.len()) {
        return Ok(reason);
    }
    let text = format!(
        "support access needs a reason, which is logged: send it in the metadata \
         {REASON_HEADER}, in 3 to 200 characters, such as the number of a ticket, without \
         names of people"
    );
    let reason = ErrorReason::ReadingReasonRequired;
    Err(ApiError::new(Code::InvalidArgument, reason, text))
}

/// Checks that the roles `held` by a caller include one of the roles `needed`.
///
/// # Errors
///
/// `PERMISSION_DENIED` with the needed roles.
pub fn check_roles(held: &[Role], needed: &[Role]) -> Result<(), ApiError> {
    if held.iter().any(|role| needed.contains(role)) {
        return Ok(());
    }
    let needed = needed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(ApiError::new(
        Code::PermissionDenied,
        ErrorReason::RoleNotAllowed,
        format!("this call needs one of the roles {needed}"),
    )
    .with("roles", needed))
}
