//! The options of `concord watch`.

use anyhow::ensure;
use clap::{Args, ValueEnum};
use concord_core::caller::PracticeId;
use concord_proto::limits::MAX_SUBSCRIPTION_NAME;

use super::CallOptions;

/// The start position of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Start {
    /// The oldest retained change
    Earliest,
    /// The next change
    Now,
    /// A snapshot of every record, then the changes
    Snapshot,
}

/// How changes of the subscribing product itself are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Echo {
    /// Omit them
    Suppress,
    /// Send them without their records
    Mark,
    /// Send them as all other changes
    Include,
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Businesses and individuals
    Client,
    /// Human beings
    Person,
    /// The roles of persons at clients
    Contact,
}

/// A named subscription, whose position the server stores.
#[derive(Args, Debug)]
pub(crate) struct SubscriptionOptions {
    /// Use this subscription of the product and account: the server stores its position,
    /// and a later watch resumes from it. A subscription has one stream: a newer stream
    /// ends the older one
    #[arg(long, value_name = "NAME", value_parser = subscription_name)]
    pub(crate) name: Option<String>,
    /// Acknowledge printed changes, batch by batch, which advances the position of the
    /// subscription. Without it the next watch prints the same changes again
    #[arg(long, requires = "name")]
    pub(crate) ack: bool,
    /// Restart the subscription, and discard its position
    #[arg(long, requires = "name")]
    pub(crate) restart: bool,
    /// The flow control window: the number of unacknowledged changes that the server
    /// sends, up to 10000; by default 1000, or with `--ack` the number in `--count`
    #[arg(
        long,
        value_name = "N",
        requires = "name",
        value_parser = clap::value_parser!(i32).range(1..=10_000)
    )]
    pub(crate) window: Option<i32>,
}

#[derive(Args, Debug)]
pub(crate) struct WatchOptions {
    #[command(flatten)]
    pub(crate) subscription: SubscriptionOptions,
    /// The start position; by default `now`, or `earliest` for a new subscription. An
    /// existing subscription resumes from its position, and ignores this option
    #[arg(long, value_name = "WHERE")]
    pub(crate) from: Option<Start>,
    /// Short for `--from snapshot`
    #[arg(long, conflicts_with = "from")]
    pub(crate) snapshot: bool,
    /// Resume after this cursor, which an earlier watch printed. With a name, this
    /// acknowledges everything up to the cursor
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["from", "snapshot", "restart"])]
    pub(crate) cursor: Option<String>,
    /// How the product's own changes are delivered
    #[arg(long, value_name = "WHAT", default_value = "suppress")]
    pub(crate) echo: Echo,
    /// Only these kinds of record
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,
    /// Only records that are linked to the product
    #[arg(long)]
    pub(crate) linked_only: bool,
    /// Only these of the practices that the product is connected to; not with --practice
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only_practices: Vec<PracticeId>,
    /// Exit after this many changes and snapshot records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Exit when nothing was received for this long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) until_idle: Option<u64>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

impl WatchOptions {
    /// Checks constraints that clap cannot check.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        // The practice may be set by the environment variable, unnoticed by the user.
        ensure!(
            self.only_practices.is_empty() || self.call.practice.is_none(),
            "--only-practices is for a watch of all practices of the product: omit \
             --practice, and unset CONCORD_PRACTICE"
        );
        Ok(())
    }
}

fn subscription_name(name: &str) -> Result<String, &'static str> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > MAX_SUBSCRIPTION_NAME || !name.chars().all(is_known) {
        return Err(
            "the name of a subscription is 1 to 64 letters, digits, dots, hyphens and underscores",
        );
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(args: &[&str]) -> Result<WatchOptions, String> {
        let command = ["concord", "watch"].iter().chain(args);
        match Cli::try_parse_from(command).map_err(|error| error.to_string())?.command {
            Command::Watch(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn subscription_options_require_a_name() {
        for args in [&["--ack"][..], &["--restart"], &["--window", "5"]] {
            assert!(parse(args).unwrap_err().contains("--name <NAME>"), "{args:?}");
            let named = [args, &["--name", "ledger"]].concat();
            assert!(parse(&named).is_ok(), "{args:?}");
        }
    }

    #[test]
    fn invalid_subscription_name_error_names_the_format() {
        let long = "x".repeat(65);
        for name in ["", "a b", "a/b", "é", &long] {
            assert!(parse(&["--name", name]).unwrap_err().contains("1 to 64"), "{name}");
        }
        assert!(parse(&["--name", &"x".repeat(64)]).is_ok());
    }

    #[test]
    fn start_options_are_mutually_exclusive() {
        for args in [
            &["--snapshot", "--from", "now"][..],
            &["--cursor", "c", "--snapshot"],
            &["--cursor", "c", "--from", "now"],
            &["--cursor", "c", "--restart", "--name", "ledger"],
        ] {
            assert!(parse(args).unwrap_err().contains("cannot be used with"), "{args:?}");
        }
        assert!(parse(&["--window", "10001", "--name", "ledger"]).is_err());
    }

    #[test]
    fn only_practices_conflicts_with_practice() {
        let narrowed = parse(&["--practice", "p1", "--only-practices", "p2,p3"]).unwrap();
        assert!(narrowed.check().unwrap_err().to_string().contains("CONCORD_PRACTICE"));
    }
}
