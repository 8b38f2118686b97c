//! Page tokens of keyset pagination, and other opaque tokens that callers send back
//! unchanged.
//!
//! A token is base64 and readable, for example in a log of URLs. It contains ids and
//! numbers only. If the order of a list needs personal data, such as a name, a [`PageTokenKey`]
//! encrypts the token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::status::ApiError;
use concord_proto::pb::records::ErrorReason;

/// Default number of entries of a page.
pub const DEFAULT_PAGE_SIZE: u64 = 50;
/// Maximum number of entries of a page.
pub const MAX_PAGE_SIZE: u64 = concord_proto::limits::MAX_PAGE_SIZE as u64;

/// Maximum size of the entries of a list response, in bytes. gRPC clients accept messages
/// of 4 MiB by default.
pub const ANSWER_BYTES: usize = 3 * 1_024 * 1_024;

/// The number of bytes that a list response may still take.
#[derive(Clone, Copy, Debug)]
pub struct ResponseBudget {
    left: usize,
    is_empty: bool,
}

impl Default for ResponseBudget {
    fn default() -> Self {
        Self { left: ANSWER_BYTES, is_empty: true }
    }
}

impl ResponseBudget {
    /// The budget of a response that needs `bytes` for its other fields.
    #[must_use]
    pub fn with_reserved(bytes: usize) -> Self {
        Self { left: ANSWER_BYTES.saturating_sub(bytes), is_empty: false }
    }

    /// Takes the bytes of the next entry; `false` if they do not fit. The first entry always
    /// fits, unless bytes are reserved for other fields.
    pub fn try_take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        let fits = left.is_some() || self.is_empty;
        // After an entry that does not fit, no smaller one may follow.
        (self.left, self.is_empty) = (left.unwrap_or_default(), false);
        fits
    }
}

/// The page size of a request. 0 is the default; larger values are limited to the maximum.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a negative size.
pub fn page_size(requested: i32) -> Result<u64, ApiError> {
    match u64::try_from(requested) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(ApiError::invalid_field(
            "page_size",
            ErrorReason::UnknownValue,
            "must not be negative; leave it out for 50",
        )),
    }
}

/// The token of the page that begins after the key `last`, for the list that `arguments`
/// describe.
pub fn token(arguments: &impl Serialize, last: &impl Serialize) -> String {
    let last = serde_json::to_vec(last).unwrap_or_default();
    let mut bytes = digest(arguments, &last).to_vec();
    bytes.extend(last);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key after which the page of `token` begins; `None` for the first page.
///
/// # Errors
///
/// `PAGE_TOKEN_INVALID` if [`token()`] did not make the token for the same arguments.
pub fn begin_after<T: DeserializeOwned>(
    token: &str,
    arguments: &impl Serialize,
) -> Result<Option<T>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (sum, last) = bytes.split_first_chunk::<8>().ok_or_else(invalid)?;
    if *sum != digest(arguments, last) {
        return Err(invalid());
    }
    let key: Value = serde_json::from_slice(last).map_err(|_| invalid())?;
    // No key contains NUL, and PostgreSQL rejects it in text.
    if contains_nul(&key) {
        return Err(invalid());
    }
    serde_json::from_value(key).map(Some).map_err(|_| invalid())
}

/// Encrypts the tokens of a list whose keys contain personal data (ChaCha20-Poly1305).
#[derive(Debug)]
pub struct PageTokenKey(LessSafeKey);

impl PageTokenKey {
    /// Derives the key from the secret that all replicas share.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the cipher rejects the key.
    pub fn derive(secret: &[u8]) -> Result<Self, ApiError> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&secret, b"concord page tokens");
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref());
        Ok(Self(LessSafeKey::new(key.map_err(|error| ApiError::internal(&error))?)))
    }

    /// As [`token()`], encrypted.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the system provides no random bytes.
    pub fn token(
        &self,
        arguments: &impl Serialize,
        last: &impl Serialize,
    ) -> Result<String, ApiError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| ApiError::internal(&error))?;
        let mut text = serde_json::to_vec(last).unwrap_or_default();
        // A random nonce of 96 bits: a collision is unlikely for the number of tokens that a
        // product requests.
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(unique, bound_to(arguments), &mut text);
        sealed.map_err(|error| ApiError::internal(&error))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// As [`begin_after`], for an encrypted token.
    ///
    /// # Errors
    ///
    /// `PAGE_TOKEN_INVALID` if [`token`](Self::token) did not make the token for the same
    /// arguments.
    pub fn begin_after<T: DeserializeOwned>(
        &self,
        token: &str,
        arguments: &impl Serialize,
    ) -> Result<Option<T>, ApiError> {
        if token.is_empty() {
            return Ok(None);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or_else(invalid)?;
        let unique = Nonce::assume_unique_for_key(*nonce);
        let text =
            self.0.open_in_place(unique, bound_to(arguments), sealed).map_err(|_| invalid())?;
        serde_json::from_slice(text).map(Some).map_err(|_| invalid())
    }
}

fn bound_to(arguments: &impl Serialize) -> Aad<Vec<u8>> {
    Aad::from(serde_json::to_vec(arguments).unwrap_or_default())
}

fn contains_nul(key: &Value) -> bool {
    match key {
        Value::String(text) => text.contains('\0'),
        Value::Array(parts) => parts.iter().any(contains_nul),
        Value::Object(parts) => parts.values().any(contains_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A checksum that detects a damaged token and a token of another list. It does not prevent
/// forgery: a token contains only a key, and does not decide which rows are visible.
fn digest(arguments: &impl Serialize, last: &[u8]) -> [u8; 8] {
    let arguments = serde_json::to_vec(arguments).unwrap_or_default();
    let digest = Sha256::new().chain_update(Sha256::digest(arguments)).chain_update(last);
    let mut start = [0; 8];
    for (to, from) in start.iter_mut().zip(digest.finalize()) {
        *to = from;
    }
    start
}

fn invalid() -> ApiError {
    ApiError::new(
        Code::InvalidArgument,
        ErrorReason::PageTokenInvalid,
        "the page token is not one of this list with these arguments; begin with the first page",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use concord_testing::fuzz::Fuzz;

    #[test]
    fn token_round_trips_for_its_own_list_only() {
        let token = token(&("p1", "clients"), &"cli_7");
        assert_eq!(begin_after(&token, &("p1", "clients")).unwrap(), Some("cli_7".to_owned()));
        assert!(begin_after::<String>(&token, &("p2", "clients")).is_err());
        assert!(begin_after::<String>("%%%", &("p1", "clients")).is_err());
        assert!(begin_after::<String>("AAAA", &("p1", "clients")).is_err());
        assert_eq!(begin_after::<String>("", &"anything").unwrap(), None);
    }

    #[test]
    fn damaged_token_is_rejected() {
        let arguments = ("p1", "clients");
        let own = token(&arguments, &("Acme", 7_i64, "cli_0197"));
        let other = token(&("p2", "clients"), &("Acme", 8_i64, "cli_0198"));
        Fuzz::corpus("page_token").seed(own.clone()).seed(other).check_text(
            |text| match begin_after::<(String, i64, String)>(text, &arguments) {
                Ok(Some(key)) => assert_eq!((key.1, text), (7, own.as_str())),
                Ok(None) => assert_eq!(text, ""),
                Err(error) => assert_eq!(error.reason(), ErrorReason::PageTokenInvalid),
            },
        );
    }

    #[test]
    fn encrypted_token_hides_its_key_and_round_trips_for_its_own_list() {
        let key = PageTokenKey::derive(&[7; 32]).unwrap();
        let (arguments, last) = (("p1", "search"), ("grace okafor".to_owned(), 7_i64));
        let token = key.token(&arguments, &last).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"grace"));
        let read = |key: &PageTokenKey, token: &str, arguments: &(&str, &str)| {
            key.begin_after::<(String, i64)>(token, arguments)
        };
        // Another replica derives the same key.
        let replica = PageTokenKey::derive(&[7; 32]).unwrap();
        assert_eq!(read(&replica, &token, &arguments).unwrap(), Some(last));
        assert_eq!(read(&key, "", &arguments).unwrap(), None);
        assert!(read(&key, &token, &("p2", "search")).is_err());
        assert!(read(&PageTokenKey::derive(&[8; 32]).unwrap(), &token, &arguments).is_err());
        Fuzz::corpus("page_token").seed(token.clone()).check_text(|text| {
            if text != token && !text.is_empty() {
                let error = read(&key, text, &arguments).unwrap_err();
                assert_eq!(error.reason(), ErrorReason::PageTokenInvalid);
            }
        });
    }

    #[test]
    fn response_budget_admits_at_least_one_entry() {
        let mut budget = ResponseBudget::default();
        assert!(budget.try_take(ANSWER_BYTES - 10) && budget.try_take(10) && !budget.try_take(1));
        let mut budget = ResponseBudget::default();
        assert!(budget.try_take(2 * ANSWER_BYTES) && !budget.try_take(1));
        let mut budget = ResponseBudget::with_reserved(ANSWER_BYTES - 10);
        assert!(
            !budget.try_take(11) && !budget.try_take(1),
            "no smaller entry after one that does not fit"
        );
    }

    #[test]
    fn page_size_is_bounded() {
        assert_eq!(page_size(0).unwrap(), DEFAULT_PAGE_SIZE);
        assert_eq!(page_size(i32::MAX).unwrap(), MAX_PAGE_SIZE);
        assert!(page_size(-1).is_err());
    }
}
