//! The id of a call, which finds its lines in the logs of both services.
//!
//! A caller may give one in the metadata [`CALL_ID_HEADER`]; otherwise one is made.
//! It is in every line of the log that is written for the call, goes back with the
//! answer, and goes on with the calls that are made for it. It is not the
//! `request_id` of a message, which makes a repeated mutation harmless.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderValue};
use tonic::{Extensions, metadata::MetadataMap};

use crate::ids;

/// The metadata with the id of a call.
pub const CALL_ID_HEADER: &str = "x-request-id";

/// Characters of an id at most; a longer one is not taken over.
const MAX_LENGTH: usize = 128;

/// The id of a call: letters, digits, dots, hyphens and underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallId(Arc<str>);

impl CallId {
    /// A new one.
    pub fn new() -> Self {
        Self(ids::new_uuid().as_simple().to_string().into())
    }

    /// A new one for one of the calls that are made for `cause`, such as an import.
    pub fn for_part_of(cause: &str) -> Self {
        let part = ids::new_uuid().as_simple().to_string();
        // The end of an id is its random part.
        let part = part.get(20..).unwrap_or_default();
        Self(format!("{cause}.{part}").into())
    }

    /// The one that a caller has given, when it is well-formed, or else a new one:
    /// what stands in logs must not be text of any form and length.
    pub fn given(headers: &HeaderMap) -> Self {
        let given = headers.get(CALL_ID_HEADER).and_then(|value| value.to_str().ok());
        given.filter(|text| is_well_formed(text)).map_or_else(Self::new, |text| Self(text.into()))
    }

    /// The id of the call whose extensions these are.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Sends it with a call.
    pub fn send_with(&self, metadata: &mut MetadataMap) {
        if let Ok(value) = self.0.parse() {
            metadata.insert(CALL_ID_HEADER, value);
        }
    }

    /// Sends it back with an answer.
    pub(crate) fn answer_with(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(CALL_ID_HEADER, value);
        }
    }
}

impl Default for CallId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_well_formed(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> String {
        let headers = [(CALL_ID_HEADER.parse().unwrap(), HeaderValue::from_str(text).unwrap())];
        CallId::given(&headers.into_iter().collect()).to_string()
    }

    #[test]
    fn a_well_formed_id_is_taken_over() {
        let longest = "a".repeat(MAX_LENGTH);
        for text in ["1", "req-7.b_2", &longest] {
            assert_eq!(given(text), text);
        }
    }

    #[test]
    fn another_text_is_replaced_by_a_new_id() {
        let too_long = "a".repeat(MAX_LENGTH + 1);
        for text in ["", "a b", "a\"b", "a{b}", "jane@example.org", &too_long] {
            let id = given(text);
            assert_ne!(id, text);
            assert_eq!(id.len(), 32);
        }
        assert_eq!(CallId::given(&HeaderMap::new()).to_string().len(), 32);
    }

    #[test]
    fn the_parts_of_a_cause_have_ids_of_their_own() {
        let (one, other) = (CallId::for_part_of("imp_1"), CallId::for_part_of("imp_1"));
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("imp_1.") && is_well_formed(&one.0));
    }
}
