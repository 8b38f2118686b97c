//! Errors as gRPC statuses, with the details that a program can act on.
//!
//! The one place that knows `google.rpc`. A [`Refusal`] says what is wrong and
//! how to mend it; nothing of a driver's text or of another practice is in it.

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{
    ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt as _,
};

use crate::{
    ids,
    pb::records::ErrorReason,
    rules::{Violation, Violations, reason_code},
};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "concord";

/// At most this many violations go into one status.
pub const MAX_VIOLATIONS: usize = 50;

/// Bytes of the details of a status at most. Libraries accept headers of 8 KiB in all
/// by default, and an answer with more of them reaches the caller as another error.
/// Details travel as base64, which is a third longer.
pub const MAX_DETAILS: usize = 4_500;

/// Bytes of the message of a status at most, as it travels: percent-encoded.
pub const MAX_MESSAGE: usize = 1_000;

/// Bytes of one text in the details at most. A cursor, which must be whole, is shorter.
const MAX_TEXT: usize = 400;

/// The fact of how many violations the details do not list.
const LEFT_OUT: &str = "violations_left_out";

/// Why a call was not answered.
#[derive(Debug)]
pub struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<Violation>,
    /// How many more there were.
    left_out: usize,
    preconditions: Vec<(String, String)>,
    resource: Option<(String, String)>,
    quota: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with a message for people: what is wrong, and the remedy.
    pub fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            violations: Vec::new(),
            left_out: 0,
            preconditions: Vec::new(),
            resource: None,
            quota: None,
            retry_after: None,
        }))
    }

    /// Fields of the request are not valid.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        Self::invalid_of_more(violations, 0)
    }

    /// The same, of which `left_out` were only counted.
    fn invalid_of_more(violations: Vec<Violation>, left_out: usize) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{}: {}", one.field, one.text),
            more => format!("{} fields are not valid; see the details", more.len() + left_out),
        };
        let reason = match violations.as_slice() {
            [one] => one.reason,
            _ => ErrorReason::InvalidRequest,
        };
        let mut refusal = Self::new(Code::InvalidArgument, reason, message);
        (refusal.0.violations, refusal.0.left_out) = (violations, left_out);
        refusal
    }

    /// One field of the request is not valid.
    pub fn invalid_field(field: &str, reason: ErrorReason, text: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(field, reason, text)])
    }

    /// No such thing in the caller's practice.
    pub fn not_found(kind: &str, name: &str) -> Self {
        let mut refusal = Self::new(
            Code::NotFound,
            ErrorReason::NotFound,
            format!("{kind} was not found in this practice: {}", quoted(name)),
        );
        refusal.0.resource = Some((kind.to_owned(), quoted(name)));
        refusal
    }

    /// Other writers were in the way each time.
    pub fn conflict() -> Self {
        Self::new(
            Code::Aborted,
            ErrorReason::Conflict,
            "other writers were in the way; send the call again",
        )
        .retry_after(Duration::from_millis(100))
    }

    /// The service cannot answer just now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, ErrorReason::Unavailable, message)
            .retry_after(Duration::from_secs(1))
    }

    /// A limit was reached; `quota` names it.
    pub fn limit_reached(quota: &str, message: impl Into<String>, retry_after: Duration) -> Self {
        let mut refusal = Self::new(Code::ResourceExhausted, ErrorReason::LimitReached, message)
            .retry_after(retry_after);
        refusal.0.quota = Some(quota.to_owned());
        refusal
    }

    /// Something unexpected: `cause` goes to the log only, under an id that the
    /// caller is given.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        let incident = ids::new_uuid().as_simple().to_string();
        tracing::error!(incident, cause = %cause, "internal error");
        Self::new(
            Code::Internal,
            ErrorReason::Internal,
            format!("internal error; the log has more under {incident}"),
        )
        .with("incident", incident)
    }

    /// Adds a fact that a program can read.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds something that must be so before the call can be made.
    #[must_use]
    pub fn precondition(mut self, subject: &str, description: impl Into<String>) -> Self {
        self.0.preconditions.push((subject.to_owned(), description.into()));
        self
    }

    /// Says when to send the call again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The same refusal of fields, with those of `more` beside its own.
    #[must_use]
    pub fn and(mut self, more: Violations) -> Self {
        let left_out = self.0.left_out + more.left_out();
        self.0.violations.extend(more.into_vec());
        Self::invalid_of_more(self.0.violations, left_out)
    }

    /// The reason.
    pub fn reason(&self) -> ErrorReason {
        self.0.reason
    }
}

impl Parts {
    /// The status that lists the first `listed` violations, and as many preconditions.
    fn status(&self, listed: usize) -> Status {
        let left_out = self.listable().saturating_sub(listed) + self.left_out;
        let mut message = cut(&self.message, MAX_MESSAGE, encoded_length);
        let metadata = self.metadata.iter();
        let mut metadata: HashMap<String, String> =
            metadata.map(|(key, value)| (key.clone(), cut_text(value))).collect();
        if left_out > 0 {
            let told = format!("; {left_out} more are not listed");
            message = cut(&self.message, MAX_MESSAGE - encoded_length(&told), encoded_length);
            message.push_str(&told);
            metadata.insert(LEFT_OUT.to_owned(), left_out.to_string());
        }
        let details = self.details(&message, metadata, listed);
        Status::with_error_details(self.code, message, details)
    }

    fn details(
        &self,
        message: &str,
        metadata: HashMap<String, String>,
        listed: usize,
    ) -> ErrorDetails {
        let mut details = ErrorDetails::with_error_info(reason_code(self.reason), DOMAIN, metadata);
        if !self.violations.is_empty() {
            let shown = self.violations.iter().take(listed).map(field_violation);
            details.set_bad_request(shown.collect::<Vec<_>>());
        }
        if !self.preconditions.is_empty() {
            let kind = reason_code(self.reason);
            let shown = self.preconditions.iter().take(listed).map(|(subject, text)| {
                PreconditionViolation::new(kind, cut_text(subject), cut_text(text))
            });
            details.set_precondition_failure(shown.collect::<Vec<_>>());
        }
        if let Some((kind, name)) = &self.resource {
            details.set_resource_info(cut_text(kind), cut_text(name), "", "");
        }
        if let Some(quota) = &self.quota {
            details.set_quota_failure(vec![QuotaViolation::new(cut_text(quota), message)]);
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        details
    }

    /// How many violations, or preconditions, there are to be listed.
    fn listable(&self) -> usize {
        self.violations.len().max(self.preconditions.len())
    }
}

fn field_violation(violation: &Violation) -> FieldViolation {
    let text = format!("{}: {}", reason_code(violation.reason), violation.text);
    FieldViolation::new(cut_text(&violation.field), cut_text(&text))
}

/// The text, or so much of it as fits the details.
fn cut_text(text: &str) -> String {
    cut(text, MAX_TEXT, str::len)
}

/// So much of a text as has the length `most` at the most.
fn cut(text: &str, most: usize, length: impl Fn(&str) -> usize) -> String {
    const CUT: &str = "...";
    if length(text) <= most {
        return text.to_owned();
    }
    let mut left = most - CUT.len();
    let fits = text.char_indices().take_while(|(at, character)| {
        let end = at + character.len_utf8();
        let taken = left.checked_sub(text.get(*at..end).map_or(0, &length));
        left = taken.unwrap_or_default();
        taken.is_some()
    });
    let end = fits.last().map_or(0, |(at, character)| at + character.len_utf8());
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

/// The length of a message as it travels. No character is taken to be shorter than it
/// is: only what no library encodes counts once.
fn encoded_length(text: &str) -> usize {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:;/()'".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { 1 } else { 3 }).sum()
}

/// A caller's value, cut to 80 characters and without control characters.
pub fn quoted(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refusal {}

impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        let left_out = violations.left_out();
        Self::invalid_of_more(violations.into_vec(), left_out)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let parts = refusal.0;
        let all = parts.status(parts.listable().min(MAX_VIOLATIONS));
        if all.details().len() <= MAX_DETAILS {
            return all;
        }
        // The more are listed, the longer it is.
        let counts: Vec<usize> = (1..=parts.listable().min(MAX_VIOLATIONS)).collect();
        let fits = |listed: &usize| parts.status(*listed).details().len() <= MAX_DETAILS;
        parts.status(counts.partition_point(fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of an answer's headers, as the settings of HTTP/2 count them.
    fn header_bytes(status: Status) -> usize {
        let answer = status.into_http::<()>();
        answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    fn fact(status: &Status, name: &str) -> Option<String> {
        status.get_error_details().error_info().unwrap().metadata.get(name).cloned()
    }

    fn listed(status: &Status) -> usize {
        status.get_error_details().bad_request().map_or(0, |details| details.field_violations.len())
    }

    #[test]
    fn violations_that_are_left_out_are_counted() {
        let violation = |n: usize| Violation {
            field: format!("addresses[{n}].address.line_1"),
            reason: ErrorReason::AddressLine1Missing,
            text: "Address Line 1 is missing".to_owned(),
        };
        let of = |count| {
            let mut violations = Violations::new();
            violations.extend((0..count).map(violation));
            Status::from(Refusal::from(violations))
        };
        let few = of(40);
        assert_eq!((few.code(), listed(&few)), (Code::InvalidArgument, 40));
        assert_eq!(fact(&few, LEFT_OUT), None);
        let many = of(200);
        let left_out = 200 - listed(&many);
        assert!((40..=MAX_VIOLATIONS).contains(&listed(&many)), "{left_out}");
        assert_eq!(fact(&many, LEFT_OUT), Some(left_out.to_string()));
        let told =
            format!("200 fields are not valid; see the details; {left_out} more are not listed");
        assert_eq!(many.message(), told);
    }

    /// What every refusal below has to fit, with room for the headers of the transport.
    const MOST: usize = 8_192 - 600;

    #[test]
    fn the_worst_refusals_fit_the_headers_that_clients_take() {
        let words = "the first of March 2021, as the former accountant told us on the telephone";
        let texts = [
            words.to_owned(),
            "\\u{202e}".repeat(80),
            "\u{1d11e}".repeat(5_000),
            "%\"<>{}` ".repeat(1_000),
            String::new(),
        ];
        for text in &texts {
            let field = format!("addresses[7].{text}");
            let violation = |n: usize| {
                Violation::new(format!("f{n}.{field}"), ErrorReason::InvalidDate, text.as_str())
            };
            for count in [1, 2, 50, 500] {
                let refusals = [
                    Refusal::invalid((0..count).map(violation).collect()),
                    (0..count).fold(
                        Refusal::new(Code::FailedPrecondition, ErrorReason::CountsDiffer, text),
                        |refusal, n| refusal.precondition(&format!("{n} {text}"), text),
                    ),
                ];
                for refusal in refusals {
                    let refusal = refusal.with("product", text).with("what", text);
                    let status = Status::from(refusal);
                    assert!(status.details().len() <= MAX_DETAILS, "{}", status.details().len());
                    let bytes = header_bytes(status);
                    assert!(bytes <= MOST, "{bytes} of {count} of {text:.20}");
                }
            }
            let others = [
                Refusal::new(Code::OutOfRange, ErrorReason::CursorTooOld, text)
                    .with("earliest_cursor", "c".repeat(174))
                    .with("latest_cursor", "d".repeat(174)),
                Refusal::not_found(text, text),
                Refusal::limit_reached(text, text, Duration::from_secs(1)),
                Refusal::internal(text),
                Refusal::unavailable(text),
            ];
            for refusal in others {
                let status = Status::from(refusal);
                if status.code() == Code::OutOfRange {
                    assert_eq!(fact(&status, "latest_cursor").unwrap(), "d".repeat(174));
                }
                let bytes = header_bytes(status);
                assert!(bytes <= MOST, "{bytes} of {text:.20}");
            }
        }
    }

    #[test]
    fn what_is_cut_says_so_and_stays_text() {
        assert_eq!(cut("abcdef", 6, str::len), "abcdef");
        assert_eq!(cut("abcdefg", 6, str::len), "abc...");
        assert_eq!(cut("ééééé", 8, str::len), "éé...");
        assert_eq!(cut("ab cd", 6, encoded_length), "ab...");
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let status = Status::from(Refusal::internal(&"relation client does not exist"));
        assert!(!status.message().contains("relation"));
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "INTERNAL");
    }
}
