//! Errors of calls to a service, as messages for the user.

use std::{error::Error as _, fmt};

use concord_core::rules::reason_code;
use concord_proto::pb::records::ErrorReason;
use concord_server::{identity::TOKEN_HEADER, reach::ConnectFailure};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The status of a call that failed: an error of the service, or of the connection.
#[derive(Debug)]
pub(crate) struct CallError(pub(crate) Status);

impl std::error::Error for CallError {}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl CallError {
    /// The message of the error. Errors that refer to RPCs or metadata are translated to
    /// commands and options; for a failed connection it is the cause.
    fn message(&self, details: &ErrorDetails) -> String {
        if let Some(error) = self.0.source() {
            return format!("the connection failed: {}", ConnectFailure::of(error));
        }
        let message = self.0.message();
        let reason = details.error_info().map(|info| info.reason.as_str()).unwrap_or_default();
        let is = |known| reason == reason_code(known);
        if is(ErrorReason::ProductNotConnected) {
            let unmet = details.precondition_failure().and_then(|unmet| unmet.violations.first());
            let product = unmet.map_or("PRODUCT", |unmet| unmet.subject.as_str());
            return format!(
                "{product} is not connected to this practice: `concord connect {product}` \
                 connects it"
            );
        }
        if is(ErrorReason::ReadingReasonRequired) {
            return "support access requires a reason, which is recorded: pass --reason with 3 to \
                    200 characters, such as a ticket number, and without names of persons"
                .to_owned();
        }
        if is(ErrorReason::Unauthenticated) && message.contains(TOKEN_HEADER) {
            return "the service requires a token, and none was sent: pass one by --token, or in \
                    CONCORD_TOKEN; `concord token` signs one"
                .to_owned();
        }
        if self.0.code() == Code::Unimplemented {
            return "the service does not implement this RPC: are --records and --imports \
                    exchanged, or is the service older than this program?"
                .to_owned();
        }
        message.to_owned()
    }
}

/// Formats the message and the reason, and, when several fields are invalid, each of them on a
/// line.
impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.0.get_error_details();
        f.write_str(&self.message(&details))?;
        if let Some(info) = details.error_info() {
            write!(f, " ({})", info.reason)?;
            for name in ["earliest_cursor", "latest_cursor"] {
                if let Some(cursor) = info.metadata.get(name) {
                    write!(f, "\n  {}: {cursor}", name.replace('_', " "))?;
                }
            }
        }
        let fields = details.bad_request().map(|bad| bad.field_violations.as_slice());
        // The message already describes a single violation.
        for violation in fields.filter(|fields| fields.len() > 1).unwrap_or_default() {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use concord_core::status::ApiError;

    use super::*;

    fn text(error: ApiError) -> String {
        CallError(error.into()).to_string()
    }

    #[test]
    fn messages_refer_to_commands_and_options() {
        let error = |code, reason| ApiError::new(code, reason, "the metadata authorization");
        let connected = error(Code::FailedPrecondition, ErrorReason::ProductNotConnected)
            .precondition("books", "ConnectProduct first");
        assert_eq!(
            text(connected),
            "books is not connected to this practice: `concord connect books` connects it \
             (PRODUCT_NOT_CONNECTED)"
        );
        let reading = error(Code::InvalidArgument, ErrorReason::ReadingReasonRequired);
        assert!(text(reading).contains("pass --reason"));
        let token = error(Code::Unauthenticated, ErrorReason::Unauthenticated);
        assert!(text(token).contains("pass one by --token, or in CONCORD_TOKEN"));
        let other = CallError(Status::unimplemented("")).to_string();
        assert!(other.contains("are --records and --imports exchanged"), "{other}");
    }

    #[test]
    fn connection_error_is_shown_once() {
        let inner = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = Status::from_error(Box::new(std::io::Error::other(inner)));
        assert_eq!(CallError(broken).to_string(), "the connection failed: connection reset");
    }

    #[test]
    fn single_field_violation_is_shown_once() {
        let one = ApiError::invalid_field("label", ErrorReason::ValueTooLong, "at most 100");
        assert_eq!(text(one), "label: at most 100 (VALUE_TOO_LONG)");
    }

    #[test]
    fn all_field_violations_are_listed() {
        let mut details =
            ErrorDetails::with_error_info("INVALID_REQUEST", "concord", HashMap::new());
        details.add_bad_request_violation("label", "VALUE_TOO_LONG: at most 100 characters");
        details.add_bad_request_violation("import_id", "INVALID_ID: not an import");
        let status =
            Status::with_error_details(Code::InvalidArgument, "2 fields are not valid", details);
        assert_eq!(
            CallError(status).to_string(),
            "2 fields are not valid (INVALID_REQUEST)\n  \
             label: VALUE_TOO_LONG: at most 100 characters\n  \
             import_id: INVALID_ID: not an import"
        );
    }
}
