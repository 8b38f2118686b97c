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

/// At most this many violations go into one status: all details together must
/// fit the 16 kB that clients allow for headers.
pub const MAX_VIOLATIONS: usize = 50;

/// Bytes of them at most, for the same reason: details travel as base64, and each
/// may quote what was sent.
const MAX_VIOLATION_BYTES: usize = 7_000;

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
            preconditions: Vec::new(),
            resource: None,
            quota: None,
            retry_after: None,
        }))
    }

    /// Fields of the request are not valid.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [one] => format!("{}: {}", one.field, one.text),
            more => format!("{} fields are not valid; see the details", more.len()),
        };
        let reason = match violations.as_slice() {
            [one] => one.reason,
            _ => ErrorReason::InvalidRequest,
        };
        let mut refusal = Self::new(Code::InvalidArgument, reason, message);
        refusal.0.violations = violations;
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
        self.0.violations.extend(more.into_vec());
        Self::invalid(self.0.violations)
    }

    /// The reason.
    pub fn reason(&self) -> ErrorReason {
        self.0.reason
    }
}

impl Parts {
    fn details(&self) -> ErrorDetails {
        let mut details =
            ErrorDetails::with_error_info(reason_code(self.reason), DOMAIN, self.metadata.clone());
        if !self.violations.is_empty() {
            let shown = self.violations.iter().take(MAX_VIOLATIONS).map(field_violation);
            let mut left = MAX_VIOLATION_BYTES;
            let shown = shown.map_while(|violation| {
                left = left.checked_sub(violation.field.len() + violation.description.len())?;
                Some(violation)
            });
            details.set_bad_request(shown.collect::<Vec<_>>());
        }
        if !self.preconditions.is_empty() {
            let kind = reason_code(self.reason);
            let shown = self.preconditions.iter().take(MAX_VIOLATIONS);
            let shown =
                shown.map(|(subject, text)| PreconditionViolation::new(kind, subject, text));
            details.set_precondition_failure(shown.collect::<Vec<_>>());
        }
        if let Some((kind, name)) = &self.resource {
            details.set_resource_info(kind, name, "", "");
        }
        if let Some(quota) = &self.quota {
            details.set_quota_failure(vec![QuotaViolation::new(quota, &self.message)]);
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        details
    }
}

fn field_violation(violation: &Violation) -> FieldViolation {
    FieldViolation::new(
        &violation.field,
        format!("{}: {}", reason_code(violation.reason), violation.text),
    )
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
        Self::invalid(violations.into_vec())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let details = refusal.0.details();
        Status::with_error_details(refusal.0.code, refusal.0.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_named_up_to_the_limit() {
        let violation = |n: usize| Violation {
            field: format!("addresses[{n}].address.line_1"),
            reason: ErrorReason::AddressLine1Missing,
            text: "Address Line 1 is missing".to_owned(),
        };
        let status = Status::from(Refusal::invalid((0..200).map(violation).collect()));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations.len(), MAX_VIOLATIONS);
        assert!(status.details().len() < 10_000);
    }

    #[test]
    fn violations_that_quote_much_fit_the_headers_of_an_answer() {
        let text = "\\u{202e}".repeat(80);
        let violation = |n| Violation::new(format!("f{n}"), ErrorReason::InvalidMask, &text);
        let status = Status::from(Refusal::invalid((0..50).map(violation).collect()));
        let shown = status.get_error_details().bad_request().unwrap().field_violations.len();
        assert!((5..MAX_VIOLATIONS).contains(&shown), "{shown}");
        assert!(status.details().len() < 8_000, "{}", status.details().len());
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_inside() {
        let status = Status::from(Refusal::internal(&"relation client does not exist"));
        assert!(!status.message().contains("relation"));
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "INTERNAL");
    }
}
