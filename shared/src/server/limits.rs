//! What a server takes at most. All of it is per replica: two replicas take twice
//! as much together. `docs/limits.md` is the table for callers and operators.

use std::time::Duration;

use crate::shares::Ratio;

/// The largest message that a service takes, unless it says otherwise: the
/// transport's own limit.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1_024 * 1_024;

/// The largest message of a service to a service.
pub const MAX_SERVICE_MESSAGE_BYTES: usize = 16 * 1_024 * 1_024;

/// How fast the message of a call must come at least once its length is known, in
/// bytes a second.
pub const MESSAGE_BYTES_PER_SECOND: u32 = 64 * 1_024;

/// What a caller must read of an answer that waits for it, in the time of an answer or
/// of a stream, for the time to begin anew.
pub const LEAST_READ_BYTES: u64 = 64 * 1_024;

/// How long a call that is done keeps its place while there is no room for its answer.
pub const ROOM_TIME: Duration = Duration::from_secs(1);

/// How long a caller may take to read why an answer ended that it did not read in time.
/// Then the stream is reset.
pub const RESET_AFTER: Duration = Duration::from_mins(1);

/// Streams and calls of one connection at the same time. A client holds further
/// ones back by itself.
pub const MAX_STREAMS_OF_CONNECTION: u32 = 256;

/// The headers of a call together, as HTTP/2 counts them.
pub const MAX_HEADER_BYTES: u32 = 16 * 1_024;

/// How often a silent connection is asked whether it is alive (HTTP/2 PING), and how
/// long its answer may take.
pub const KEEPALIVE: Duration = Duration::from_secs(20);

/// The largest message that the health and the reflection service take.
pub const MAX_STANDARD_MESSAGE_BYTES: usize = 4 * 1_024;

/// Calls of health that are open at the same time, without those of Watch.
pub const MAX_HEALTH_CHECKS: u32 = 256;

/// Streams of Watch, of health, that are open at the same time.
pub const MAX_HEALTH_WATCHES: u32 = 1_000;

/// Streams of reflection that are open at the same time.
pub const MAX_REFLECTIONS: u32 = 16;

/// One address has this part of each of the three at most.
pub const STANDARD_SHARE: u32 = 4;

/// How long the one message of a call of health may take to come.
pub const HEALTH_MESSAGE_TIME: Duration = Duration::from_secs(10);

/// How long a stream of reflection takes requests.
pub const REFLECTION_TIME: Duration = Duration::from_secs(30);

/// How long an answer of health or reflection may wait for the caller to read it.
pub const UNREAD_TIME: Duration = Duration::from_secs(20);

/// How long a call waits for its turn at most.
pub const MAX_WAIT: Duration = Duration::from_secs(2);

/// Calls of `UploadBatch` that are open at the same time. Far more than are read
/// at the same time: the rest are refused by the imports service, which says so
/// after their first message.
pub const MAX_OPEN_UPLOADS: u64 = 64;

/// What one product in one practice may have of the open uploads.
pub const OPEN_UPLOADS_SHARE: Ratio = Ratio::new(1, 2);

/// Bytes of a mebibyte, which operators count memory in.
pub const MEBIBYTE: u64 = 1_024 * 1_024;

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
    /// Open connections of one client address: an IPv4 address, or the /64 of an IPv6
    /// address. Those of a trusted proxy do not count as its own.
    pub connections_per_address: u32,
    /// How long the opening of a connection may take: the header of the PROXY protocol,
    /// the TLS handshake, the HTTP/2 preface and the first SETTINGS, together.
    pub opening_time: Duration,
    /// How long a connection may have no open stream. Then its client is asked to make
    /// another one when it needs it (GOAWAY).
    pub idle_time: Duration,
    /// Bytes of the messages of calls that are being read.
    pub message_bytes: u64,
    /// Bytes of answers that their callers have not taken.
    pub answer_bytes: u64,
    /// How long the message of a call may take to come, beside what its length needs.
    pub message_time: Duration,
    /// How long an answer may wait for its caller to read on.
    pub answer_time: Duration,
    /// How long a message of a stream may.
    pub stream_time: Duration,
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
            connections_per_address: 500,
            opening_time: Duration::from_secs(10),
            idle_time: Duration::from_mins(5),
            message_bytes: 128 * MEBIBYTE,
            answer_bytes: 128 * MEBIBYTE,
            message_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(30),
            stream_time: Duration::from_mins(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        identity::MAX_USER,
        page::{ANSWER_BYTES, MAX_PAGE_SIZE},
        rules::{date, text},
        server::{
            MAX_RECORDS,
            admission::{
                places::{AT_WORK, WAITING},
                streams::OF_PRACTICE,
            },
        },
        status::{MAX_DETAILS, MAX_MESSAGE, MAX_VIOLATIONS},
        testing::assert_documented,
    };

    fn count(limit: usize) -> u64 {
        limit.try_into().unwrap()
    }

    #[test]
    fn the_documented_limits_of_a_server_are_those_of_the_code() {
        let limits = Limits::default();
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
                (
                    "A new connection until its first SETTINGS frame",
                    Limits::default().opening_time.as_secs(),
                ),
                ("Calls at work of one tenant", AT_WORK.alone(limits.calls.into())),
                ("Calls of one tenant that wait", WAITING.alone(limits.waiting_calls.into())),
                ("The message of a call", limits.message_time.as_secs()),
                ("An answer that its caller does not read", limits.answer_time.as_secs()),
                ("A call that is done, without room for its answer", ROOM_TIME.as_secs()),
                ("A stream that its caller does not read", limits.stream_time.as_secs() / 60),
                (
                    "Streams of changes of one practice in one product",
                    OF_PRACTICE.alone(limits.streams_of_product.into()),
                ),
                ("Uploads that are open", MAX_OPEN_UPLOADS),
                (
                    "Open uploads of one product in one practice",
                    OPEN_UPLOADS_SHARE.alone(MAX_OPEN_UPLOADS),
                ),
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
    fn documented_limits_of_health_and_reflection_are_those_of_the_code() {
        assert_documented(
            "Health and reflection",
            &[
                ("One message", count(MAX_STANDARD_MESSAGE_BYTES)),
                ("Open calls of Check", MAX_HEALTH_CHECKS.into()),
                ("Open streams of Watch", MAX_HEALTH_WATCHES.into()),
                ("Open streams of reflection", MAX_REFLECTIONS.into()),
                (
                    "The message of Check and of Watch, until it has come",
                    HEALTH_MESSAGE_TIME.as_secs(),
                ),
                ("A stream of reflection", REFLECTION_TIME.as_secs()),
                ("An answer that the caller does not read", UNREAD_TIME.as_secs()),
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
