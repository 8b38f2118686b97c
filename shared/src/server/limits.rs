//! What a server takes at most. All of it is per replica: two replicas take twice
//! as much together. `docs/limits.md` is the table for callers and operators.

use std::time::Duration;

use tokio::sync::Semaphore;

/// The largest message that a service takes, unless it says otherwise: the
/// transport's own limit.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1_024 * 1_024;

/// Streams and calls of one connection at the same time. A client holds further
/// ones back by itself.
pub const MAX_STREAMS_OF_CONNECTION: u32 = 256;

/// The headers of a call together, as HTTP/2 counts them.
pub const MAX_HEADER_BYTES: u32 = 16 * 1_024;

/// How long a new connection may be silent before its first byte.
pub const FIRST_BYTE_TIME: Duration = Duration::from_secs(10);

/// How long a call waits for its turn at most.
pub const MAX_WAIT: Duration = Duration::from_secs(2);

/// Calls of `UploadBatch` that are open at the same time. Far more than are read
/// at the same time: the rest are refused by the imports service, which says so
/// after their first message.
pub const MAX_OPEN_UPLOADS: usize = 64;

/// The limits that an operator may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls of one product in one practice in a second, in the long run; 0 is any
    /// number. Calls of the imports service on behalf of an import do not count.
    pub requests_per_second: u32,
    /// Calls of one product in one practice that may come at once, after a quiet
    /// time.
    pub requests_at_once: u32,
    /// Calls at work at the same time. An open stream is not at work, and an upload
    /// has a bound of its own.
    pub calls: u32,
    /// Calls that wait for their turn.
    pub waiting_calls: u32,
    /// How long a call may take before its caller is told that it is late.
    pub call_time: Duration,
    /// Open streams of all callers.
    pub streams: u32,
    /// Open streams of changes of one product.
    pub streams_of_product: u32,
    /// Open streams about imports of one practice.
    pub streams_of_practice: u32,
    /// Open connections.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 1_000,
            requests_at_once: 5_000,
            calls: 64,
            waiting_calls: 256,
            call_time: Duration::from_mins(1),
            streams: 1_000,
            streams_of_product: 250,
            streams_of_practice: 50,
            connections: 2_000,
        }
    }
}

/// A semaphore with so many permits.
pub(super) fn semaphore(permits: u32) -> Semaphore {
    let permits = usize::try_from(permits).unwrap_or(Semaphore::MAX_PERMITS);
    Semaphore::new(permits.min(Semaphore::MAX_PERMITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        identity::MAX_USER,
        page::{ANSWER_BYTES, MAX_PAGE_SIZE},
        rules::{date, text},
        server::{KEEPALIVE, MAX_RECORDS},
        status::{MAX_DETAILS, MAX_MESSAGE, MAX_VIOLATIONS},
        testing::assert_documented,
    };

    fn count(limit: usize) -> u64 {
        limit.try_into().unwrap()
    }

    #[test]
    fn the_documented_limits_of_a_server_are_those_of_the_code() {
        assert_documented(
            "Of every server",
            &[
                ("One message of a caller", count(MAX_MESSAGE_BYTES)),
                ("The headers of a call, tokens included", MAX_HEADER_BYTES.into()),
                (
                    "Calls and streams of one connection at the same time",
                    MAX_STREAMS_OF_CONNECTION.into(),
                ),
                ("Time that a call waits for its turn", MAX_WAIT.as_secs()),
                ("Uploads that are open", count(MAX_OPEN_UPLOADS)),
                ("A new connection without its first byte", FIRST_BYTE_TIME.as_secs()),
                ("A silent connection before it is asked whether it lives", KEEPALIVE.as_secs()),
                ("Entries of a page", MAX_PAGE_SIZE),
                ("What an answer lists", count(ANSWER_BYTES)),
                ("Violations in one answer", count(MAX_VIOLATIONS)),
                ("The details of an error", count(MAX_DETAILS)),
                ("The user whom a token or the metadata name", count(MAX_USER)),
                ("Records that are kept of one read by support", count(MAX_RECORDS)),
                ("The message of an error", count(MAX_MESSAGE)),
            ],
        );
    }

    #[test]
    fn the_documented_limits_of_a_record_are_those_of_the_code() {
        assert_documented(
            "Of a record",
            &[
                ("External id, source id", count(text::MAX_SOURCE_ID)),
                ("Client reference", count(text::MAX_REFERENCE)),
                ("Registered name, trading name", count(text::MAX_NAME)),
                ("Title", count(text::MAX_TITLE)),
                ("Forename, middle names, surname, each", count(text::MAX_NAME_PART)),
                ("One line of an address, town, region, postcode", count(text::MAX_ADDRESS_LINE)),
                ("E-mail address", count(text::MAX_EMAIL)),
                ("Telephone number", count(text::MAX_PHONE)),
                ("E-mail addresses", count(text::MAX_EMAILS)),
                ("Telephone numbers", count(text::MAX_PHONES)),
                ("Addresses that come with a new record", count(text::MAX_ADDRESSES)),
                ("Clients of one contact of an import", count(text::MAX_CONTACT_CLIENTS)),
                ("The earliest year of a date", u64::from(date::FIRST_YEAR)),
                ("The latest year of a date", u64::from(date::LAST_YEAR)),
            ],
        );
    }
}
