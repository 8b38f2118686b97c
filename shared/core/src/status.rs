//! Errors as gRPC statuses, with the details that a program can act on.
//!
//! The only module that uses the error model of `google.rpc`. An [`ApiError`] says what
//! is wrong and how to fix it. It contains no text of a database driver and no data of
//! another practice.

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{
    ErrorDetails, FieldViolation as BadRequestViolation, PreconditionViolation, QuotaViolation,
    StatusExt as _,
};

use crate::{
    ids,
    rules::{FieldViolation, FieldViolations, reason_code},
};
use concord_proto::pb::records::ErrorReason;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "concord";

/// Maximum number of violations in one status.
pub const MAX_VIOLATIONS: usize = 50;

/// Maximum size of the details of a status, in bytes. Libraries accept 8 KiB of headers
/// by default, and a response with more of them reaches the caller as another error.
/// Details are sent as base64, which is a third longer.
pub const MAX_DETAILS: usize = 4_500;

/// Maximum size of the message of a status, in bytes of its percent-encoded form.
pub const MAX_MESSAGE: usize = 1_000;

/// Maximum size of one text in the details, in bytes. A cursor, which must not be cut, is
/// shorter.
const MAX_TEXT: usize = 400;

/// The metadata key for the number of violations that the details do not list.
const LEFT_OUT: &str = "violations_left_out";

/// An error that a service returns to its caller, with a reason and details.
#[derive(Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    violations: Vec<FieldViolation>,
    /// Number of violations that were counted and not kept.
    left_out: usize,
    preconditions: Vec<(String, String)>,
    resource: Option<(String, String)>,
    quota: Option<String>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with a message for people: what is wrong, and the remedy.
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

    /// `INVALID_ARGUMENT`: fields of the request are not valid.
    pub fn invalid(violations: Vec<FieldViolation>) -> Self {
        Self::invalid_of_more(violations, 0)
    }

    /// As [`invalid`](Self::invalid), with `left_out` more violations that are not kept.
    fn invalid_of_more(violations: Vec<FieldViolation>, left_out: usize) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{}: {}", one.field, one.text),
            more => format!("{} fields are not valid; see the details", more.len() + left_out),
        };
        let reason = match violations.as_slice() {
            [one] => one.reason,
            _ => ErrorReason::InvalidRequest,
        };
        let mut error = Self::new(Code::InvalidArgument, reason, message);
        (error.0.violations, error.0.left_out) = (violations, left_out);
        error
    }

    /// `INVALID_ARGUMENT`: one field of the request is not valid.
    pub fn invalid_field(field: &str, reason: ErrorReason, text: impl Into<String>) -> Self {
        Self::invalid(vec![FieldViolation::new(field, reason, text)])
    }

    /// `NOT_FOUND`: the practice of the caller has no such record.
    pub fn not_found(kind: &str, name: &str) -> Self {
        let mut error = Self::new(
            Code::NotFound,
            ErrorReason::NotFound,
            format!("{kind} was not found in this practice: {}", quoted(name)),
        );
        error.0.resource = Some((kind.to_owned(), quoted(name)));
        error
    }

    /// `ABORTED`: every attempt had a write conflict. The caller may retry.
    pub fn conflict() -> Self {
        Self::new(
            Code::Aborted,
            ErrorReason::Conflict,
            "write conflict with other calls; retry the call",
        )
        .retry_after(Duration::from_millis(100))
    }

    /// `UNAVAILABLE`: the service cannot answer now. The caller may retry.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, ErrorReason::Unavailable, message)
            .retry_after(Duration::from_secs(1))
    }

    /// `RESOURCE_EXHAUSTED`: a limit was reached; `quota` names it.
    pub fn limit_reached(quota: &str, message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(Code::ResourceExhausted, ErrorReason::LimitReached, message)
            .retry_after(retry_after);
        error.0.quota = Some(quota.to_owned());
        error
    }

    /// `INTERNAL`: an unexpected error. `cause` is logged under an incident id; the caller
    /// gets the id only.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        let incident = ids::new_uuid().as_simple().to_string();
        tracing::error!(incident, cause = %cause, "internal error");
        Self::new(
            Code::Internal,
            ErrorReason::Internal,
            format!("internal error; see the log for the incident {incident}"),
        )
        .with("incident", incident)
    }

    /// Adds a metadata entry to the `ErrorInfo`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a precondition of the call that does not hold.
    #[must_use]
    pub fn precondition(mut self, subject: &str, description: impl Into<String>) -> Self {
        self.0.preconditions.push((subject.to_owned(), description.into()));
        self
    }

    /// Sets the delay after which the caller may retry.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds the violations of `more`.
    #[must_use]
    pub fn and(mut self, more: FieldViolations) -> Self {
        let left_out = self.0.left_out + more.left_out();
        self.0.violations.extend(more.into_vec());
        Self::invalid_of_more(self.0.violations, left_out)
    }

    /// The reason of the error.
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
            let suffix = format!("; {left_out} more are not listed");
            message = cut(&self.message, MAX_MESSAGE - encoded_length(&suffix), encoded_length);
            message.push_str(&suffix);
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

    /// Number of violations, or of preconditions, to list.
    fn listable(&self) -> usize {
        self.violations.len().max(self.preconditions.len())
    }
}

fn field_violation(violation: &FieldViolation) -> BadRequestViolation {
    let text = format!("{}: {}", reason_code(violation.reason), violation.text);
    BadRequestViolation::new(cut_text(&violation.field), cut_text(&text))
}

/// The text, cut to the limit of a text in the details.
fn cut_text(text: &str) -> String {
    cut(text, MAX_TEXT, str::len)
}

/// The text, cut to the length `max` as `length` measures it.
fn cut(text: &str, max: usize, length: impl Fn(&str) -> usize) -> String {
    const CUT: &str = "...";
    if length(text) <= max {
        return text.to_owned();
    }
    let mut left = max - CUT.len();
    let fits = text.char_indices().take_while(|(at, character)| {
        let end = at + character.len_utf8();
        let taken = left.checked_sub(text.get(*at..end).map_or(0, &length));
        left = taken.unwrap_or_default();
        taken.is_some()
    });
    let end = fits.last().map_or(0, |(at, character)| at + character.len_utf8());
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

/// An upper bound of the percent-encoded length of a message. Only characters that no
/// library encodes count as one byte.
fn encoded_length(text: &str) -> usize {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:;/()'".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { 1 } else { 3 }).sum()
}

/// A value of the caller, cut to 80 characters and without control characters.
pub fn quoted(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {}

impl From<FieldViolations> for ApiError {
    fn from(violations: FieldViolations) -> Self {
        let left_out = violations.left_out();
        Self::invalid_of_more(violations.into_vec(), left_out)
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let parts = error.0;
        let all = parts.status(parts.listable().min(MAX_VIOLATIONS));
        if all.details().len() <= MAX_DETAILS {
            return all;
        }
        // The size grows with the number of listed violations.
        let counts: Vec<usize> = (1..=parts.listable().min(MAX_VIOLATIONS)).collect();
        let fits = |listed: &usize| parts.status(*listed).details().len() <= MAX_DETAILS;
        parts.status(counts.partition_point(fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the headers of a response, as the settings of HTTP/2 count it.
    fn header_bytes(status: Status) -> usize {
        let response = status.into_http::<()>();
        response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    fn metadata_entry(status: &Status, name: &str) -> Option<String> {
        status.get_error_details().error_info().unwrap().metadata.get(name).cloned()
    }

    fn listed(status: &Status) -> usize {
        status.get_error_details().bad_request().map_or(0, |details| details.field_violations.len())
    }

    #[test]
    fn status_with_too_many_violations_counts_the_omitted_ones() {
        let violation = |n: usize| FieldViolation {
            field: format!("addresses[{n}].address.line_1"),
            reason: ErrorReason::AddressLine1Missing,
            text: "Address Line 1 is missing".to_owned(),
        };
        let of = |count| {
            let mut violations = FieldViolations::new();
            violations.extend((0..count).map(violation));
            Status::from(ApiError::from(violations))
        };
        let few = of(40);
        assert_eq!((few.code(), listed(&few)), (Code::InvalidArgument, 40));
        assert_eq!(metadata_entry(&few, LEFT_OUT), None);
        let many = of(200);
        let left_out = 200 - listed(&many);
        assert!((40..=MAX_VIOLATIONS).contains(&listed(&many)), "{left_out}");
        assert_eq!(metadata_entry(&many, LEFT_OUT), Some(left_out.to_string()));
        let expected =
            format!("200 fields are not valid; see the details; {left_out} more are not listed");
        assert_eq!(many.message(), expected);
    }

    /// Limit for the headers of a status: 8 KiB less the headers of the transport.
    const MAX_HEADERS: usize = 8_192 - 600;

    #[test]
    fn largest_errors_fit_the_header_limit_of_clients() {
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
                FieldViolation::new(
                    format!("f{n}.{field}"),
                    ErrorReason::InvalidDate,
                    text.as_str(),
                )
            };
            for count in [1, 2, 50, 500] {
                let errors = [
                    ApiError::invalid((0..count).map(violation).collect()),
                    (0..count).fold(
                        ApiError::new(Code::FailedPrecondition, ErrorReason::CountsDiffer, text),
                        |error, n| error.precondition(&format!("{n} {text}"), text),
                    ),
                ];
                for error in errors {
                    let error = error.with("product", text).with("what", text);
                    let status = Status::from(error);
                    assert!(status.details().len() <= MAX_DETAILS, "{}", status.details().len());
                    let bytes = header_bytes(status);
                    assert!(bytes <= MAX_HEADERS, "{bytes} of {count} of {text:.20}");
                }
            }
            let others = [
                ApiError::new(Code::OutOfRange, ErrorReason::CursorTooOld, text)
                    .with("earliest_cursor", "c".repeat(174))
                    .with("latest_cursor", "d".repeat(174)),
                ApiError::not_found(text, text),
                ApiError::limit_reached(text, text, Duration::from_secs(1)),
                ApiError::internal(text),
                ApiError::unavailable(text),
            ];
            for error in others {
                let status = Status::from(error);
                if status.code() == Code::OutOfRange {
                    assert_eq!(metadata_entry(&status, "latest_cursor").unwrap(), "d".repeat(174));
                }
                let bytes = header_bytes(status);
                assert!(bytes <= MAX_HEADERS, "{bytes} of {text:.20}");
            }
        }
    }

    #[test]
    fn cut_text_ends_with_dots_and_stays_valid_utf8() {
        assert_eq!(cut("abcdef", 6, str::len), "abcdef");
        assert_eq!(cut("abcdefg", 6, str::len), "abc...");
        assert_eq!(cut("ééééé", 8, str::len), "éé...");
        assert_eq!(cut("ab cd", 6, encoded_length), "ab...");
    }

    #[test]
    fn internal_error_hides_its_cause() {
        let status = Status::from(ApiError::internal(&"relation client does not exist"));
        assert!(!status.message().contains("relation"));
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "INTERNAL");
    }
}
