//! The `SubscribeRequest` of a watch.

use concord_proto::pb::records::{EchoMode, RecordKind, StartFrom, SubscribeRequest};

use crate::cli::{Echo, Kind, Start, WatchOptions};

/// The default flow control window of the service, in unacknowledged changes.
const DEFAULT_WINDOW: u64 = 1_000;

/// The request of the first stream.
pub(super) fn of(options: &WatchOptions) -> SubscribeRequest {
    let kinds = options.kinds.iter().map(|kind| match kind {
        Kind::Client => RecordKind::Client.into(),
        Kind::Person => RecordKind::Person.into(),
        Kind::Contact => RecordKind::Contact.into(),
    });
    let echo_mode = match options.echo {
        Echo::Suppress => EchoMode::Suppress,
        Echo::Mark => EchoMode::Mark,
        Echo::Include => EchoMode::Include,
    };
    SubscribeRequest {
        start_from: start_from(options).into(),
        cursor: options.cursor.clone().unwrap_or_default(),
        echo_mode: echo_mode.into(),
        record_kinds: kinds.collect(),
        linked_only: options.linked_only,
        subscription: options.subscription.name.clone().unwrap_or_default(),
        restart: options.subscription.restart,
        max_unacknowledged: window(options),
        practices: options.only_practices.iter().map(ToString::to_string).collect(),
    }
}

/// The start position. The default is `earliest` for a subscription, whose subscriber has no
/// records yet, and `now` for a watch without a name.
fn start_from(options: &WatchOptions) -> StartFrom {
    let requested = if options.snapshot { Some(Start::Snapshot) } else { options.from };
    match (&options.cursor, requested, &options.subscription.name) {
        (Some(_), _, _) => StartFrom::Unspecified,
        (None, Some(Start::Snapshot), _) => StartFrom::Snapshot,
        (None, Some(Start::Now), _) | (None, None, None) => StartFrom::Now,
        (None, Some(Start::Earliest), _) | (None, None, Some(_)) => StartFrom::Earliest,
    }
}

/// The flow control window. At most `--count` with `--ack`: a batch is acknowledged as a
/// whole, so that a watch that ends within a batch acknowledges nothing of it.
fn window(options: &WatchOptions) -> i32 {
    let counted = options.count.filter(|count| options.subscription.ack && *count < DEFAULT_WINDOW);
    let counted = counted.and_then(|count| i32::try_from(count).ok());
    options.subscription.window.or(counted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn request(args: &[&str]) -> SubscribeRequest {
        let command = ["concord", "watch"].iter().chain(args);
        match Cli::try_parse_from(command).unwrap().command {
            Command::Watch(options) => of(&options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn default_start_is_now_or_earliest_for_a_subscription() {
        let start_from = |args: &[&str]| request(args).start_from();
        assert_eq!(start_from(&[]), StartFrom::Now);
        assert_eq!(start_from(&["--name", "ledger"]), StartFrom::Earliest);
        assert_eq!(start_from(&["--name", "ledger", "--from", "now"]), StartFrom::Now);
        assert_eq!(start_from(&["--snapshot"]), StartFrom::Snapshot);
        assert_eq!(start_from(&["--from", "snapshot"]), StartFrom::Snapshot);
        assert_eq!(start_from(&["--name", "ledger", "--cursor", "c"]), StartFrom::Unspecified);
    }

    #[test]
    fn window_with_ack_is_limited_to_count() {
        let window =
            |args: &[&str]| request(&[&["--name", "ledger"], args].concat()).max_unacknowledged;
        assert_eq!(window(&[]), 0);
        assert_eq!(window(&["--count", "5"]), 0);
        assert_eq!(window(&["--count", "5", "--ack"]), 5);
        assert_eq!(window(&["--count", "5000", "--ack"]), 0);
        assert_eq!(window(&["--count", "5", "--ack", "--window", "7"]), 7);
    }
}
