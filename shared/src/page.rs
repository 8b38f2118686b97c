//! Opaque tokens: of the pages of a list, and of anything else that a caller is
//! to hand back unchanged.
//!
//! A token is base64: whoever sees it, in a log of URLs for instance, can read it. So it
//! holds ids and numbers. Where the order of a list needs more, such as a name, a
//! [`TokenKey`] encrypts it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::{pb::records::ErrorReason, status::Refusal};

/// Entries of a page when the caller does not say.
pub const DEFAULT_PAGE_SIZE: u64 = 50;
/// Entries of a page at most.
pub const MAX_PAGE_SIZE: u64 = 1_000;

/// Bytes of what an answer lists at most: what callers take in one message is 4 MiB when
/// they do not ask for more.
pub const ANSWER_BYTES: usize = 3 * 1_024 * 1_024;

/// How much more an answer may list.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    left: usize,
    is_empty: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: ANSWER_BYTES, is_empty: true }
    }
}

impl Room {
    /// What is left beside `bytes` that an answer holds whatever it lists.
    #[must_use]
    pub fn beside(bytes: usize) -> Self {
        Self { left: ANSWER_BYTES.saturating_sub(bytes), is_empty: false }
    }

    /// Takes room for the next thing; whether there is any. The first one always fits,
    /// unless there is something beside it.
    pub fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        let fits = left.is_some() || self.is_empty;
        // Nothing comes after one that does not fit, however small it is.
        (self.left, self.is_empty) = (left.unwrap_or_default(), false);
        fits
    }
}

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
    let last = serde_json::to_vec(last).unwrap_or_default();
    let mut bytes = digest(arguments, &last).to_vec();
    bytes.extend(last);
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
    let (sum, last) = bytes.split_first_chunk::<8>().ok_or_else(invalid)?;
    if *sum != digest(arguments, last) {
        return Err(invalid());
    }
    let place: Value = serde_json::from_slice(last).map_err(|_| invalid())?;
    // No row has a key with it, and PostgreSQL does not take it for text.
    if holds_nul(&place) {
        return Err(invalid());
    }
    serde_json::from_value(place).map(Some).map_err(|_| invalid())
}

/// Encrypts the tokens of a list whose positions hold personal data.
#[derive(Debug)]
pub struct TokenKey(LessSafeKey);

impl TokenKey {
    /// The key that each replica derives from a secret which all of them share.
    ///
    /// # Errors
    ///
    /// `INTERNAL` when the cipher does not take it.
    pub fn derive(secret: &[u8]) -> Result<Self, Refusal> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&secret, b"concord page tokens");
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref());
        Ok(Self(LessSafeKey::new(key.map_err(|error| Refusal::internal(&error))?)))
    }

    /// As [`token()`], encrypted.
    ///
    /// # Errors
    ///
    /// `INTERNAL` when the system has no random bytes to give.
    pub fn token(
        &self,
        arguments: &impl Serialize,
        last: &impl Serialize,
    ) -> Result<String, Refusal> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| Refusal::internal(&error))?;
        let mut text = serde_json::to_vec(last).unwrap_or_default();
        // Random nonces of 96 bits: far more tokens than one product asks for may be made
        // before two are likely to be equal.
        let own = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.seal_in_place_append_tag(own, bound_to(arguments), &mut text);
        sealed.map_err(|error| Refusal::internal(&error))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// As [`begin_after`], of a token that this key has encrypted.
    ///
    /// # Errors
    ///
    /// When the token was not made by [`token`](Self::token) for the same arguments.
    pub fn begin_after<T: DeserializeOwned>(
        &self,
        token: &str,
        arguments: &impl Serialize,
    ) -> Result<Option<T>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or_else(invalid)?;
        let own = Nonce::assume_unique_for_key(*nonce);
        let text = self.0.open_in_place(own, bound_to(arguments), sealed).map_err(|_| invalid())?;
        serde_json::from_slice(text).map(Some).map_err(|_| invalid())
    }
}

fn bound_to(arguments: &impl Serialize) -> Aad<Vec<u8>> {
    Aad::from(serde_json::to_vec(arguments).unwrap_or_default())
}

fn holds_nul(place: &Value) -> bool {
    match place {
        Value::String(text) => text.contains('\0'),
        Value::Array(parts) => parts.iter().any(holds_nul),
        Value::Object(parts) => parts.values().any(holds_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Enough of a digest to tell lists apart, and a token that was damaged from one
/// that was not. It keeps nobody from making one up: the place is all that is in
/// it, and whose rows are shown is not.
fn digest(arguments: &impl Serialize, last: &[u8]) -> [u8; 8] {
    let arguments = serde_json::to_vec(arguments).unwrap_or_default();
    let digest = Sha256::new().chain_update(Sha256::digest(arguments)).chain_update(last);
    let mut start = [0; 8];
    for (to, from) in start.iter_mut().zip(digest.finalize()) {
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
    use crate::testing::fuzz::Fuzz;

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
    fn a_damaged_token_is_no_other_place() {
        let arguments = ("p1", "clients");
        let own = token(&arguments, &("Acme", 7_i64, "cli_0197"));
        let other = token(&("p2", "clients"), &("Acme", 8_i64, "cli_0198"));
        Fuzz::of("page_token").and(own.clone()).and(other).hold_text(|text| {
            match begin_after::<(String, i64, String)>(text, &arguments) {
                Ok(Some(place)) => assert_eq!((place.1, text), (7, own.as_str())),
                Ok(None) => assert_eq!(text, ""),
                Err(refusal) => assert_eq!(refusal.reason(), ErrorReason::PageTokenInvalid),
            }
        });
    }

    #[test]
    fn an_encrypted_token_shows_nothing_and_reads_back_for_its_own_list_only() {
        let key = TokenKey::derive(&[7; 32]).unwrap();
        let (arguments, place) = (("p1", "search"), ("grace okafor".to_owned(), 7_i64));
        let token = key.token(&arguments, &place).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"grace"));
        let read = |key: &TokenKey, token: &str, arguments: &(&str, &str)| {
            key.begin_after::<(String, i64)>(token, arguments)
        };
        // Another replica derives the same key.
        let replica = TokenKey::derive(&[7; 32]).unwrap();
        assert_eq!(read(&replica, &token, &arguments).unwrap(), Some(place));
        assert_eq!(read(&key, "", &arguments).unwrap(), None);
        assert!(read(&key, &token, &("p2", "search")).is_err());
        assert!(read(&TokenKey::derive(&[8; 32]).unwrap(), &token, &arguments).is_err());
        Fuzz::of("page_token").and(token.clone()).hold_text(|text| {
            if text != token && !text.is_empty() {
                let refusal = read(&key, text, &arguments).unwrap_err();
                assert_eq!(refusal.reason(), ErrorReason::PageTokenInvalid);
            }
        });
    }

    #[test]
    fn an_answer_lists_what_fits_and_one_thing_at_least() {
        let mut room = Room::default();
        assert!(room.take(ANSWER_BYTES - 10) && room.take(10) && !room.take(1));
        let mut room = Room::default();
        assert!(room.take(2 * ANSWER_BYTES) && !room.take(1));
        let mut room = Room::beside(ANSWER_BYTES - 10);
        assert!(!room.take(11) && !room.take(1), "in its order, or not at all");
    }

    #[test]
    fn a_page_size_has_bounds() {
        assert_eq!(page_size(0).unwrap(), DEFAULT_PAGE_SIZE);
        assert_eq!(page_size(i32::MAX).unwrap(), MAX_PAGE_SIZE);
        assert!(page_size(-1).is_err());
    }
}
