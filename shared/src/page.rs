//! Opaque tokens: of the pages of a list, and of anything else that a caller is
//! to hand back unchanged.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::{pb::records::ErrorReason, status::Refusal};

/// Entries of a page when the caller does not say.
pub const DEFAULT_PAGE_SIZE: u64 = 50;
/// Entries of a page at most.
pub const MAX_PAGE_SIZE: u64 = 1_000;

/// The page size that a caller asked for: 0 is the default, more than the
/// maximum is the maximum.
///
/// # Errors
///
/// When it is negative.
pub fn page_size(asked: i32) -> Result<u64, Refusal> {
    match u64::try_from(asked) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(Refusal::invalid_field(
            "page_size",
            ErrorReason::UnknownValue,
            "must not be negative; leave it out for 50",
        )),
    }
}

/// The token of the page that begins after `last`, for the list that
/// `arguments` describe.
pub fn token(arguments: &impl Serialize, last: &impl Serialize) -> String {
    let mut bytes = digest(arguments).to_vec();
    bytes.extend(serde_json::to_vec(last).unwrap_or_default());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the page of `token` begins; `None` for the first page.
///
/// # Errors
///
/// When the token was not made by [`token()`] for the same arguments.
pub fn begin_after<T: DeserializeOwned>(
    token: &str,
    arguments: &impl Serialize,
) -> Result<Option<T>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let last = bytes.strip_prefix(digest(arguments).as_slice()).ok_or_else(invalid)?;
    serde_json::from_slice(last).map(Some).map_err(|_| invalid())
}

/// Enough of a digest to tell lists apart; it protects nothing.
fn digest(arguments: &impl Serialize) -> [u8; 8] {
    let bytes = serde_json::to_vec(arguments).unwrap_or_default();
    let mut start = [0; 8];
    for (to, from) in start.iter_mut().zip(Sha256::digest(bytes)) {
        *to = from;
    }
    start
}

fn invalid() -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        ErrorReason::PageTokenInvalid,
        "the page token is not one of this list with these arguments; begin with the first page",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_for_its_own_list_only() {
        let token = token(&("p1", "clients"), &"cli_7");
        assert_eq!(begin_after(&token, &("p1", "clients")).unwrap(), Some("cli_7".to_owned()));
        assert!(begin_after::<String>(&token, &("p2", "clients")).is_err());
        assert!(begin_after::<String>("%%%", &("p1", "clients")).is_err());
        assert!(begin_after::<String>("AAAA", &("p1", "clients")).is_err());
        assert_eq!(begin_after::<String>("", &"anything").unwrap(), None);
    }

    #[test]
    fn a_page_size_has_bounds() {
        assert_eq!(page_size(0).unwrap(), DEFAULT_PAGE_SIZE);
        assert_eq!(page_size(i32::MAX).unwrap(), MAX_PAGE_SIZE);
        assert!(page_size(-1).is_err());
    }
}
