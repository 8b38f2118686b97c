//! The correlation id of a call, for the logs of both services.
//!
//! A caller may set it in the metadata [`CALL_ID_HEADER`]; otherwise the server generates
//! one. Every log line of the call has it. The response returns it, and calls to other
//! services propagate it. It is not the `request_id` of a message, which is an idempotency
//! key.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderValue};
use tonic::{Extensions, metadata::MetadataMap};

use crate::ids;

/// Metadata key: the id of a call.
pub const CALL_ID_HEADER: &str = "x-request-id";

/// Maximum number of characters of an id. A longer one is replaced.
const MAX_LENGTH: usize = 128;

/// The id of a call: letters, digits, dots, hyphens and underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallId(Arc<str>);

impl CallId {
    /// Generates an id.
    pub fn new() -> Self {
        Self(ids::new_uuid().as_simple().to_string().into())
    }

    /// Generates the id of a call that is made for `cause`, such as an import.
    pub fn for_part_of(cause: &str) -> Self {
        let part = ids::new_uuid().as_simple().to_string();
        // The end of an id is its random part.
        let part = part.get(20..).unwrap_or_default();
        Self(format!("{cause}.{part}").into())
    }

    /// The id that the caller sent if it is well-formed, otherwise a new one. Logs must not
    /// contain text of any form and length.
    pub fn given(headers: &HeaderMap) -> Self {
        let given = headers.get(CALL_ID_HEADER).and_then(|value| value.to_str().ok());
        given.filter(|text| is_well_formed(text)).map_or_else(Self::new, |text| Self(text.into()))
    }

    /// The id, from the extensions of the request.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Adds the id to the metadata of an outgoing call.
    pub fn send_with(&self, metadata: &mut MetadataMap) {
        if let Ok(value) = self.0.parse() {
            metadata.insert(CALL_ID_HEADER, value);
        }
    }

    /// Adds the id to the headers of a response.
    pub fn answer_with(&self, headers: &mut HeaderMap) {
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
    fn well_formed_id_is_kept() {
        let longest = "a".repeat(MAX_LENGTH);
        for text in ["1", "req-7.b_2", &longest] {
            assert_eq!(given(text), text);
        }
    }

    #[test]
    fn malformed_id_is_replaced() {
        let too_long = "a".repeat(MAX_LENGTH + 1);
        for text in ["", "a b", "a\"b", "a{b}", "jane@example.org", &too_long] {
            let id = given(text);
            assert_ne!(id, text);
            assert_eq!(id.len(), 32);
        }
        assert_eq!(CallId::given(&HeaderMap::new()).to_string().len(), 32);
    }

    #[test]
    fn calls_of_one_cause_have_different_ids() {
        let (one, other) = (CallId::for_part_of("imp_1"), CallId::for_part_of("imp_1"));
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("imp_1.") && is_well_formed(&one.0));
    }
}
