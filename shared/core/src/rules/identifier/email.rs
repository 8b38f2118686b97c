//! E-mail addresses.

use super::invalid;
use crate::rules::{
    text::{MAX_EMAIL, plain_id},
    violation::ValueError,
};
use concord_proto::pb::records::ErrorReason;

/// Parses an e-mail address: one `@` with text before it and a domain with a dot after it,
/// no space, and no character that separates or encloses addresses. Keeps the given form
/// without invisible characters. There are no further checks: only a sent message proves
/// that an address exists.
pub fn email(text: &str) -> Result<Option<String>, ValueError> {
    const LABEL: &str = "E-mail address";
    let address = plain_id(LABEL, text, MAX_EMAIL)?;
    if address.is_empty() {
        return Ok(None);
    }
    let valid = !address.contains([' ', ',', ';', ':', '<', '>', '(', ')', '[', ']', '"', '\\'])
        && address
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && is_domain(domain));
    if valid {
        return Ok(Some(address));
    }
    let hint = "write one address, such as ann@example.com";
    Err(invalid(ErrorReason::InvalidEmail, LABEL, hint))
}

fn is_domain(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c == '-' || !c.is_ascii() || c.is_ascii_alphanumeric())
        })
}
