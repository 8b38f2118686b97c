//! Parsing of the metadata that identifies the caller, and the error of an invalid identity.

use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use tonic::Code;
use uuid::Uuid;

use concord_core::{
    caller::{IMPORT_HEADER, PRODUCT_HEADER, Product, USER_HEADER},
    ids::{self, IdKind},
    rules::text::line,
    status::ApiError,
};
use concord_proto::pb::records::ErrorReason;

/// Metadata key: `Bearer` and the token.
pub const TOKEN_HEADER: &str = "authorization";

/// Maximum number of characters of a user.
pub(crate) const MAX_USER: usize = 200;

/// The prefix of Concord's metadata keys.
const OWN_PREFIX: &str = "x-concord-";

/// Rejects repeated metadata of the identity. If a gateway adds a value to that of the
/// caller, one of them could be checked and the other one used.
///
/// # Errors
///
/// `UNAUTHENTICATED` with the metadata key.
pub(super) fn check_single(headers: &HeaderMap) -> Result<(), ApiError> {
    let of_identity =
        |name: &&HeaderName| name.as_str() == TOKEN_HEADER || name.as_str().starts_with(OWN_PREFIX);
    let is_repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    match headers.keys().filter(of_identity).find(is_repeated) {
        Some(name) => Err(unauthenticated(format!("the metadata {name} is sent more than once"))),
        None => Ok(()),
    }
}

/// The text of a header; `None` without it.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ApiError> {
    let value = headers.get(name).map(http::HeaderValue::to_str).transpose();
    value.map_err(|_| unauthenticated(format!("{name}: only visible ASCII characters")))
}

/// The parsed name in a header; `None` without it.
pub(super) fn parsed<T: FromStr<Err = &'static str>>(
    headers: &HeaderMap,
    name: &str,
) -> Result<Option<T>, ApiError> {
    let value = text(headers, name)?.map(str::parse).transpose();
    value.map_err(|error| unauthenticated(format!("{name}: {error}")))
}

/// The product in the header; `None` without it.
pub(super) fn product(headers: &HeaderMap) -> Result<Option<Product>, ApiError> {
    let value = text(headers, PRODUCT_HEADER)?.map(Product::parse_unreserved).transpose();
    value.map_err(|error| unauthenticated(format!("{PRODUCT_HEADER}: {error}")))
}

/// The user in the header; empty without it.
pub(super) fn user(headers: &HeaderMap) -> Result<String, ApiError> {
    let user = line(USER_HEADER, text(headers, USER_HEADER)?.unwrap_or_default(), MAX_USER);
    user.map_err(|error| unauthenticated(error.text))
}

/// The import in the header; `None` without it.
pub(super) fn import(headers: &HeaderMap) -> Result<Option<Uuid>, ApiError> {
    let Some(text) = text(headers, IMPORT_HEADER)? else { return Ok(None) };
    let id = ids::parse(IdKind::Import, text);
    id.map(Some).ok_or_else(|| unauthenticated(format!("{IMPORT_HEADER}: not an import")))
}

/// `UNAUTHENTICATED`: the caller has no valid identity.
pub(super) fn unauthenticated(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::Unauthenticated, ErrorReason::Unauthenticated, message)
}
