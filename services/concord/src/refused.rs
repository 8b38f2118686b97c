//! The errors of a service, in words.

use std::{error::Error as _, fmt};

use tonic::Status;
use tonic_types::StatusExt as _;

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
    /// The message; of a broken connection, with what broke it.
    fn message(&self) -> String {
        let mut message = self.0.message().to_owned();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Errors of connections repeat what is inside of them.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        message
    }
}

/// The message and the reason; below them every field that is wrong, and
/// everything that must be so before.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        let details = self.0.get_error_details();
        if let Some(info) = details.error_info() {
            write!(f, " ({})", info.reason)?;
            for name in ["earliest_cursor", "latest_cursor"] {
                if let Some(cursor) = info.metadata.get(name) {
                    write!(f, "\n  {}: {cursor}", name.replace('_', " "))?;
                }
            }
            if info.reason == "PRODUCT_NOT_CONNECTED" {
                write!(f, "\n  `concord connect PRODUCT` connects a product")?;
            }
        }
        let fields = details.bad_request().map(|bad| bad.field_violations.as_slice());
        for violation in fields.unwrap_or_default() {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        let unmet = details.precondition_failure().map(|unmet| unmet.violations.as_slice());
        for violation in unmet.unwrap_or_default() {
            write!(f, "\n  {}: {}", violation.subject, violation.description)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

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
