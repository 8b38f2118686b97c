//! The errors of a service, in words.

use std::{error::Error as _, fmt};

use shared::{
    identity::TOKEN_HEADER, pb::records::ErrorReason, reach::Obstacle, rules::reason_code,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A call that a service refused, or that did not reach it.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Status);

impl std::error::Error for Refused {}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl Refused {
    /// The message, in the words of the program where the service names calls and
    /// metadata; of a broken connection, what broke it.
    fn message(&self, details: &ErrorDetails) -> String {
        if let Some(error) = self.0.source() {
            return format!("the connection failed: {}", Obstacle::of(error));
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
            return "support reads with a reason, which is kept: say why by --reason, in 3 to 200 \
                    characters, such as the number of a ticket; name nobody in it"
                .to_owned();
        }
        if is(ErrorReason::Unauthenticated) && message.contains(TOKEN_HEADER) {
            return "the service checks tokens, and none was sent: give one by --token, or in \
                    CONCORD_TOKEN; `concord token` signs one"
                .to_owned();
        }
        if self.0.code() == Code::Unimplemented {
            return "the service does not know this call: are --records and --imports exchanged, \
                    or is it older than this program?"
                .to_owned();
        }
        message.to_owned()
    }
}

/// The message and the reason; below them every field that is wrong, when there are
/// several.
impl fmt::Display for Refused {
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
        // The message says what is wrong with a single one.
        for violation in fields.filter(|fields| fields.len() > 1).unwrap_or_default() {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use shared::status::Refusal;

    use super::*;

    fn said(refusal: Refusal) -> String {
        Refused(refusal.into()).to_string()
    }

    #[test]
    fn what_the_service_asks_for_is_named_as_the_program_takes_it() {
        let refusal = |code, reason| Refusal::new(code, reason, "the metadata authorization");
        let connected = refusal(Code::FailedPrecondition, ErrorReason::ProductNotConnected)
            .precondition("books", "ConnectProduct first");
        assert_eq!(
            said(connected),
            "books is not connected to this practice: `concord connect books` connects it \
             (PRODUCT_NOT_CONNECTED)"
        );
        let reading = refusal(Code::InvalidArgument, ErrorReason::ReadingReasonRequired);
        assert!(said(reading).contains("say why by --reason"));
        let token = refusal(Code::Unauthenticated, ErrorReason::Unauthenticated);
        assert!(said(token).contains("give one by --token, or in CONCORD_TOKEN"));
        let other = Refused(Status::unimplemented("")).to_string();
        assert!(other.contains("are --records and --imports exchanged"), "{other}");
    }

    #[test]
    fn a_broken_connection_is_told_once() {
        let inner = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = Status::from_error(Box::new(std::io::Error::other(inner)));
        assert_eq!(Refused(broken).to_string(), "the connection failed: connection reset");
    }

    #[test]
    fn a_single_field_is_told_once() {
        let one = Refusal::invalid_field("label", ErrorReason::ValueTooLong, "at most 100");
        assert_eq!(said(one), "label: at most 100 (VALUE_TOO_LONG)");
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let mut details =
            ErrorDetails::with_error_info("INVALID_REQUEST", "concord", HashMap::new());
        details.add_bad_request_violation("label", "VALUE_TOO_LONG: at most 100 characters");
        details.add_bad_request_violation("import_id", "INVALID_ID: not an import");
        let status =
            Status::with_error_details(Code::InvalidArgument, "2 fields are not valid", details);
        assert_eq!(
            Refused(status).to_string(),
            "2 fields are not valid (INVALID_REQUEST)\n  \
             label: VALUE_TOO_LONG: at most 100 characters\n  \
             import_id: INVALID_ID: not an import"
        );
    }
}
