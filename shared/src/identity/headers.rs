//! Metadata that names who calls, read and checked.

use std::str::FromStr;

use http::HeaderMap;
use uuid::Uuid;

use super::unauthenticated;
use crate::{
    caller::{IMPORT_HEADER, PRODUCT_HEADER, Product, USER_HEADER},
    ids::{self, IdKind},
    status::Refusal,
};

/// Bytes of a user's name at most.
pub(super) const MAX_USER: usize = 200;

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
    let user = text(headers, USER_HEADER)?.unwrap_or_default();
    if user.len() > MAX_USER {
        return Err(unauthenticated(format!("{USER_HEADER}: at most {MAX_USER} characters")));
    }
    Ok(user.to_owned())
}

/// The import that the header names, when it is there.
pub(super) fn import(headers: &HeaderMap) -> Result<Option<Uuid>, Refusal> {
    let Some(text) = text(headers, IMPORT_HEADER)? else { return Ok(None) };
    let id = ids::parse(IdKind::Import, text);
    id.map(Some).ok_or_else(|| unauthenticated(format!("{IMPORT_HEADER}: not an import")))
}
