//! Metadata that names who calls, read and checked.

use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

use super::{TOKEN_HEADER, unauthenticated};
use crate::{
    caller::{IMPORT_HEADER, PRODUCT_HEADER, Product, USER_HEADER},
    ids::{self, IdKind},
    rules::text::line,
    status::Refusal,
};

/// Characters of a user's name at most.
pub(crate) const MAX_USER: usize = 200;

/// How the names of Concord's own metadata begin.
const OWN_PREFIX: &str = "x-concord-";

/// Checks that no metadata of the caller's identity come twice. A gateway may have added a
/// value to that of the caller: one of the two would be checked, and the other one used.
///
/// # Errors
///
/// `UNAUTHENTICATED` with the name.
pub(super) fn check_single(headers: &HeaderMap) -> Result<(), Refusal> {
    let of_identity =
        |name: &&HeaderName| name.as_str() == TOKEN_HEADER || name.as_str().starts_with(OWN_PREFIX);
    let is_repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    match headers.keys().filter(of_identity).find(is_repeated) {
        Some(name) => Err(unauthenticated(format!("the metadata {name} come more than once"))),
        None => Ok(()),
    }
}

/// The header, when it is there.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let value = headers.get(name).map(http::HeaderValue::to_str).transpose();
    value.map_err(|_| unauthenticated(format!("{name}: only visible ASCII characters")))
}

/// The name in the header, when it is there.
pub(super) fn parsed<T: FromStr<Err = &'static str>>(
    headers: &HeaderMap,
    name: &str,
) -> Result<Option<T>, Refusal> {
    let value = text(headers, name)?.map(str::parse).transpose();
    value.map_err(|error| unauthenticated(format!("{name}: {error}")))
}

/// The product that the header names, when it is there.
pub(super) fn product(headers: &HeaderMap) -> Result<Option<Product>, Refusal> {
    let value = text(headers, PRODUCT_HEADER)?.map(Product::claimed).transpose();
    value.map_err(|error| unauthenticated(format!("{PRODUCT_HEADER}: {error}")))
}

/// The user that the header names; empty without it.
pub(super) fn user(headers: &HeaderMap) -> Result<String, Refusal> {
    let user = line(USER_HEADER, text(headers, USER_HEADER)?.unwrap_or_default(), MAX_USER);
    user.map_err(|problem| unauthenticated(problem.text))
}

/// The import that the header names, when it is there.
pub(super) fn import(headers: &HeaderMap) -> Result<Option<Uuid>, Refusal> {
    let Some(text) = text(headers, IMPORT_HEADER)? else { return Ok(None) };
    let id = ids::parse(IdKind::Import, text);
    id.map(Some).ok_or_else(|| unauthenticated(format!("{IMPORT_HEADER}: not an import")))
}
