//! The limits of a server. They apply to each replica: two replicas admit twice as much
//! together. `docs/limits.md` is the table for callers and operators.

use std::time::Duration;

use crate::shares::Ratio;

/// The default maximum length of a message, which is the transport's own limit.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1_024 * 1_024;

/// The maximum length of a message between the services.
pub const MAX_SERVICE_MESSAGE_BYTES: usize = 16 * 1_024 * 1_024;

/// The minimum rate at which the message of a call must arrive once its length is known, in
/// bytes a second.
pub const MESSAGE_BYTES_PER_SECOND: u32 = 64 * 1_024;

/// The number of bytes of a response that a caller must read within the timeout of a
/// response or of a stream to restart that timeout.
pub const MIN_READ_BYTES: u64 = 64 * 1_024;

/// How long a completed call waits for room for its response, with its permit.
pub const RESPONSE_ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a caller may take to read the status of a response that was dropped because it
/// was not read in time. Then the stream is reset.
pub const RESET_AFTER: Duration = Duration::from_mins(1);

/// The maximum number of concurrent HTTP/2 streams of a connection. A client queues
/// further ones by itself.
pub const MAX_STREAMS_OF_CONNECTION: u32 = 256;

/// The maximum size of the headers of a call, as HTTP/2 counts them.
pub const MAX_HEADER_BYTES: u32 = 16 * 1_024;

/// The interval of keepalive (HTTP/2 PING) on a silent connection, and the timeout of its
/// response.
pub const KEEPALIVE: Duration = Duration::from_secs(20);

/// The maximum length of a message of the health and the reflection service.
pub const MAX_STANDARD_MESSAGE_BYTES: usize = 4 * 1_024;

/// The maximum number of open health calls, without those of Watch.
pub const MAX_HEALTH_CHECKS: u32 = 256;

/// The maximum number of open health Watch streams.
pub const MAX_HEALTH_WATCHES: u32 = 1_000;

/// The maximum number of open reflection streams.
pub const MAX_REFLECTIONS: u32 = 16;

/// The divisor of each of the three for the maximum of one client address.
pub const STANDARD_SHARE: u32 = 4;

/// The timeout of the request message of a health call.
pub const HEALTH_MESSAGE_TIME: Duration = Duration::from_secs(10);

/// The maximum time of a reflection stream.
pub const REFLECTION_TIME: Duration = Duration::from_secs(30);

/// The timeout of an unread response of health or reflection.
pub const UNREAD_TIME: Duration = Duration::from_secs(20);

/// The maximum time of a call in the queue.
pub const MAX_WAIT: Duration = Duration::from_secs(2);

/// The maximum number of open `UploadBatch` calls. It is far above the number that the
/// imports service reads at the same time: that service rejects the others after their
/// first message.
pub const MAX_OPEN_UPLOADS: u64 = 64;

/// The share of one product in one practice in the open uploads.
pub const OPEN_UPLOADS_SHARE: Ratio = Ratio::new(1, 2);

/// The number of bytes of a mebibyte, the unit of memory options.
pub const MEBIBYTE: u64 = 1_024 * 1_024;

/// The limits that an operator can configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The rate limit of one product in one practice, in calls a second; 0 is unlimited.
    /// Calls of the imports service on behalf of an import do not count.
    pub requests_per_second: u32,
    /// The burst of the rate limit: calls of one product in one practice at once.
    pub requests_at_once: u32,
    /// The concurrency limit: calls that run at the same time. Open streams do not count,
    /// and uploads have a limit of their own.
    pub calls: u32,
    /// The maximum number of calls in the queue.
    pub waiting_calls: u32,
    /// The maximum time of a call, after which its caller gets `DEADLINE_EXCEEDED`.
    pub call_time: Duration,
    /// The maximum number of open streams of all callers.
    pub streams: u32,
    /// The maximum number of open streams of changes of one product.
    pub streams_of_product: u32,
    /// The maximum number of open streams about imports of one practice.
    pub streams_of_practice: u32,
    /// The maximum number of open connections.
    pub connections: u32,
    /// The maximum number of open connections of one client address: an IPv4 address, or
    /// the /64 of an IPv6 address. Connections of a trusted proxy do not count as its own.
    pub connections_per_address: u32,
    /// The timeout of opening a connection: the header of the PROXY protocol, the TLS
    /// handshake, the HTTP/2 preface and the first SETTINGS together.
    pub opening_time: Duration,
    /// The time without an open stream after which the server sends GOAWAY.
    pub idle_time: Duration,
    /// The maximum number of bytes of request messages that are being read.
    pub message_bytes: u64,
    /// The maximum number of bytes of unread responses.
    pub answer_bytes: u64,
    /// The timeout of the message of a call, beside the time for its length.
    pub message_time: Duration,
    /// The timeout of an unread response.
    pub answer_time: Duration,
    /// The timeout of an unread message of a stream.
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
        MAX_RECORDS,
        admission::{
            concurrency_limit::{QUEUED_SHARE, RUNNING_SHARE},
            streams::PRACTICE_SHARE,
        },
        identity::MAX_USER,
    };
    use concord_core::{
        page::{ANSWER_BYTES, MAX_PAGE_SIZE},
        rules::{date, text},
        status::{MAX_DETAILS, MAX_MESSAGE, MAX_VIOLATIONS},
    };
    use concord_testing::assert_documented;

    fn count(limit: usize) -> u64 {
        limit.try_into().unwrap()
    }

    #[test]
    fn documented_server_limits_match_code() {
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
                ("Time of a call in the queue", MAX_WAIT.as_secs()),
                (
                    "A new connection until its first SETTINGS frame",
                    Limits::default().opening_time.as_secs(),
                ),
                ("Running calls of one tenant", RUNNING_SHARE.alone(limits.calls.into())),
                ("Queued calls of one tenant", QUEUED_SHARE.alone(limits.waiting_calls.into())),
                ("The message of a call", limits.message_time.as_secs()),
                ("An unread response", limits.answer_time.as_secs()),
                ("A completed call without room for its response", RESPONSE_ROOM_TIMEOUT.as_secs()),
                ("An unread stream", limits.stream_time.as_secs() / 60),
                (
                    "Streams of changes of one practice in one product",
                    PRACTICE_SHARE.alone(limits.streams_of_product.into()),
                ),
                ("Open uploads", MAX_OPEN_UPLOADS),
                (
                    "Open uploads of one product in one practice",
                    OPEN_UPLOADS_SHARE.alone(MAX_OPEN_UPLOADS),
                ),
                ("A silent connection before a keepalive PING", KEEPALIVE.as_secs()),
                ("Entries of a page", MAX_PAGE_SIZE),
                ("What an answer lists", count(ANSWER_BYTES)),
                ("Field violations in one error", count(MAX_VIOLATIONS)),
                ("The details of an error", count(MAX_DETAILS)),
                ("The user whom a token or the metadata name", count(MAX_USER)),
                ("Record ids of one read by support", count(MAX_RECORDS)),
                ("The message of an error", count(MAX_MESSAGE)),
            ],
        );
    }

    #[test]
    fn documented_health_and_reflection_limits_match_code() {
        assert_documented(
            "Health and reflection",
            &[
                ("One message", count(MAX_STANDARD_MESSAGE_BYTES)),
                ("Open calls of Check", MAX_HEALTH_CHECKS.into()),
                ("Open streams of Watch", MAX_HEALTH_WATCHES.into()),
                ("Open streams of reflection", MAX_REFLECTIONS.into()),
                ("The message of Check and of Watch", HEALTH_MESSAGE_TIME.as_secs()),
                ("A stream of reflection", REFLECTION_TIME.as_secs()),
                ("An unread response", UNREAD_TIME.as_secs()),
            ],
        );
    }

    #[test]
    fn documented_record_limits_match_code() {
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
