//! The options for the limits of a replica. `docs/limits.md` lists all limits.

use std::time::Duration;

use clap::{Args, value_parser};
use concord_server::limits::{Limits, MEBIBYTE};

#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits of this replica")]
pub(crate) struct LimitOptions {
    /// Rate limit of one product in one practice, in calls a second; 0 for no limit
    #[arg(
        long = "max-requests-per-second",
        env = "CONCORD_MAX_REQUESTS_PER_SECOND",
        value_name = "N",
        default_value_t = Limits::default().requests_per_second
    )]
    requests_per_second: u32,
    /// Burst of that rate limit: calls of one product in one practice at once
    #[arg(
        long = "max-requests-at-once",
        env = "CONCORD_MAX_REQUESTS_AT_ONCE",
        value_name = "N",
        default_value_t = Limits::default().requests_at_once,
        value_parser = value_parser!(u32).range(1..)
    )]
    requests_at_once: u32,
    /// Concurrent calls
    #[arg(
        long = "max-calls",
        env = "CONCORD_MAX_CALLS",
        value_name = "N",
        default_value_t = Limits::default().calls,
        value_parser = value_parser!(u32).range(1..)
    )]
    calls: u32,
    /// Calls that may queue when that many calls are in progress
    #[arg(
        long = "max-waiting-calls",
        env = "CONCORD_MAX_WAITING_CALLS",
        value_name = "N",
        default_value_t = Limits::default().waiting_calls
    )]
    waiting_calls: u32,
    /// The timeout of a call
    #[arg(
        long = "max-call-seconds",
        env = "CONCORD_MAX_CALL_SECONDS",
        value_name = "SECONDS",
        default_value_t = Limits::default().call_time.as_secs(),
        value_parser = value_parser!(u64).range(1..=3_600)
    )]
    call_seconds: u64,
    /// Concurrent streams
    #[arg(
        long = "max-streams",
        env = "CONCORD_MAX_STREAMS",
        value_name = "N",
        default_value_t = Limits::default().streams
    )]
    streams: u32,
    /// Concurrent change streams of one product
    #[arg(
        long = "max-streams-per-product",
        env = "CONCORD_MAX_STREAMS_PER_PRODUCT",
        value_name = "N",
        default_value_t = Limits::default().streams_of_product
    )]
    streams_of_product: u32,
    /// Concurrent import streams of one practice
    #[arg(
        long = "max-streams-per-practice",
        env = "CONCORD_MAX_STREAMS_PER_PRACTICE",
        value_name = "N",
        default_value_t = Limits::default().streams_of_practice
    )]
    streams_of_practice: u32,
    /// Concurrent connections; the process needs a limit of open files above this number
    #[arg(
        long = "max-connections",
        env = "CONCORD_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = Limits::default().connections,
        value_parser = value_parser!(u32).range(1..)
    )]
    connections: u32,
    /// Concurrent connections of one client address; connections of trusted proxies are
    /// exempt
    #[arg(
        long = "max-connections-per-address",
        env = "CONCORD_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = Limits::default().connections_per_address,
        value_parser = value_parser!(u32).range(1..)
    )]
    connections_per_address: u32,
    /// Idle timeout of a connection: how long it may have no call or stream
    #[arg(
        long = "max-connection-idle-seconds",
        env = "CONCORD_MAX_CONNECTION_IDLE_SECONDS",
        value_name = "SECONDS",
        default_value_t = Limits::default().idle_time.as_secs(),
        value_parser = value_parser!(u64).range(1..=86_400)
    )]
    connection_idle_seconds: u64,
    /// Memory for request messages that are being read, in MiB; also the largest message
    #[arg(
        long = "max-message-memory-mib",
        env = "CONCORD_MAX_MESSAGE_MEMORY_MIB",
        value_name = "MIB",
        default_value_t = Limits::default().message_bytes / MEBIBYTE,
        value_parser = value_parser!(u64).range(32..=1_048_576)
    )]
    message_memory: u64,
    /// Memory for responses that callers have not read yet, in MiB
    #[arg(
        long = "max-answer-memory-mib",
        env = "CONCORD_MAX_ANSWER_MEMORY_MIB",
        value_name = "MIB",
        default_value_t = Limits::default().answer_bytes / MEBIBYTE,
        value_parser = value_parser!(u64).range(16..=1_048_576)
    )]
    answer_memory: u64,
}

impl From<LimitOptions> for Limits {
    fn from(options: LimitOptions) -> Self {
        Self {
            requests_per_second: options.requests_per_second,
            requests_at_once: options.requests_at_once,
            calls: options.calls,
            waiting_calls: options.waiting_calls,
            call_time: Duration::from_secs(options.call_seconds),
            streams: options.streams,
            streams_of_product: options.streams_of_product,
            streams_of_practice: options.streams_of_practice,
            connections: options.connections,
            connections_per_address: options.connections_per_address,
            idle_time: Duration::from_secs(options.connection_idle_seconds),
            message_bytes: options.message_memory * MEBIBYTE,
            answer_bytes: options.answer_memory * MEBIBYTE,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _, Parser as _};
    use concord_testing::documented_limits;

    use super::*;
    use crate::cli::{Cli, Command};

    fn limits(args: &[&str]) -> Limits {
        let cli = Cli::try_parse_from([&["concord", "serve"], args].concat()).unwrap();
        let Command::Serve(options) = cli.command else { panic!("another command") };
        options.limits.into()
    }

    #[test]
    fn each_option_sets_its_limit() {
        let args = [
            "--max-requests-per-second=1",
            "--max-requests-at-once=2",
            "--max-calls=3",
            "--max-waiting-calls=4",
            "--max-call-seconds=5",
            "--max-streams=6",
            "--max-streams-per-product=7",
            "--max-streams-per-practice=8",
            "--max-connections=9",
            "--max-connections-per-address=10",
            "--max-connection-idle-seconds=11",
            "--max-message-memory-mib=64",
            "--max-answer-memory-mib=32",
        ];
        let expected = Limits {
            requests_per_second: 1,
            requests_at_once: 2,
            calls: 3,
            waiting_calls: 4,
            call_time: Duration::from_secs(5),
            streams: 6,
            streams_of_product: 7,
            streams_of_practice: 8,
            connections: 9,
            connections_per_address: 10,
            idle_time: Duration::from_secs(11),
            message_bytes: 64 * MEBIBYTE,
            answer_bytes: 32 * MEBIBYTE,
            ..Limits::default()
        };
        assert_eq!(limits(&args), expected);
        assert!(Cli::try_parse_from(["concord", "serve", "--max-calls=0"]).is_err());
    }

    #[test]
    fn every_limit_option_is_documented() {
        let documented = documented_limits("Set by options");
        let mut cli = Cli::command();
        let serve = cli.find_subcommand_mut("serve").unwrap();
        let is_limit = |arg: &&Arg| arg.get_long().is_some_and(|name| name.starts_with("max-"));
        let options: Vec<_> = serve.get_arguments().filter(is_limit).collect();
        assert_eq!(documented.len(), options.len());
        for option in options {
            let name = format!("`--{}`", option.get_long().unwrap());
            let (number, row) = &documented[&name];
            let default = option.get_default_values()[0].to_str().unwrap();
            assert_eq!(number.to_string(), default, "{name}");
            assert!(row.contains(option.get_env().unwrap().to_str().unwrap()), "{row}");
        }
    }
}
