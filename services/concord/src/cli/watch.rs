//! The options of `concord watch`.

use anyhow::ensure;
use clap::{Args, ValueEnum};
use shared::caller::PracticeId;

use super::CallOptions;

/// The longest name of a subscription.
const MAX_NAME: usize = 64;

/// Where to begin listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Start {
    /// With the oldest change that is kept
    Earliest,
    /// With the next change
    Now,
    /// With every record as it is now, then the changes
    Snapshot,
}

/// What to do with the changes that the listening product made itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Echo {
    /// Leave them out
    Suppress,
    /// Show them without their records
    Mark,
    /// Show them as all others
    Include,
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Businesses and individuals
    Client,
    /// Human beings
    Person,
    /// The places of persons at clients
    Contact,
}

/// A place that the server keeps.
#[derive(Args, Debug)]
pub(crate) struct SubscriptionOptions {
    /// Listen as this subscription of the product and account: the server keeps
    /// its place, and a later watch goes on there. One stream at a time: a newer
    /// one ends the older
    #[arg(long, value_name = "NAME", value_parser = subscription_name)]
    pub(crate) name: Option<String>,
    /// Acknowledge what was shown, batch by batch: the place of the subscription
    /// moves on. Without it a watch only looks, and the next one shows the same
    #[arg(long, requires = "name")]
    pub(crate) ack: bool,
    /// Begin the subscription anew, though it has a place
    #[arg(long, requires = "name")]
    pub(crate) restart: bool,
    /// Changes of the subscription that the server sends without an
    /// acknowledgement, up to 10000; 1000 when nothing is said, or as many as
    /// `--count` says with `--ack`
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
    /// Where to begin: `now` when nothing is said. A new subscription begins with
    /// `earliest` when nothing is said; one that has a place goes on there,
    /// whatever is said
    #[arg(long, value_name = "WHERE")]
    pub(crate) from: Option<Start>,
    /// Short for `--from snapshot`
    #[arg(long, conflicts_with = "from")]
    pub(crate) snapshot: bool,
    /// Go on after this cursor, which an earlier watch printed. With a name,
    /// everything up to it counts as acknowledged
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["from", "snapshot", "restart"])]
    pub(crate) cursor: Option<String>,
    /// What to do with the product's own changes
    #[arg(long, value_name = "WHAT", default_value = "suppress")]
    pub(crate) echo: Echo,
    /// Only these kinds of record
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,
    /// Only records that the product is linked to
    #[arg(long)]
    pub(crate) linked_only: bool,
    /// Only these practices, of all that the product is connected to: for a watch
    /// without --practice
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only_practices: Vec<PracticeId>,
    /// End after this many changes and records of a snapshot
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End when nothing has come for so long
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) until_idle: Option<u64>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

impl WatchOptions {
    /// What the form of the options alone does not tell.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        // The practice may come from a variable, of which the person who wrote the
        // command did not think.
        ensure!(
            self.only_practices.is_empty() || self.call.practice.is_none(),
            "--only-practices is for a watch that hears all practices of the product: leave \
             --practice away, and unset CONCORD_PRACTICE"
        );
        Ok(())
    }
}

fn subscription_name(name: &str) -> Result<String, &'static str> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_known) {
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
    fn what_is_for_subscriptions_asks_for_a_name() {
        for args in [&["--ack"][..], &["--restart"], &["--window", "5"]] {
            assert!(parse(args).unwrap_err().contains("--name <NAME>"), "{args:?}");
            let named = [args, &["--name", "ledger"]].concat();
            assert!(parse(&named).is_ok(), "{args:?}");
        }
    }

    #[test]
    fn a_name_of_another_form_is_refused_with_the_form() {
        let long = "x".repeat(65);
        for name in ["", "a b", "a/b", "é", &long] {
            assert!(parse(&["--name", name]).unwrap_err().contains("1 to 64"), "{name}");
        }
        assert!(parse(&["--name", &"x".repeat(64)]).is_ok());
    }

    #[test]
    fn a_watch_begins_in_one_place() {
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
    fn one_practice_cannot_be_narrowed_to_others() {
        let narrowed = parse(&["--practice", "p1", "--only-practices", "p2,p3"]).unwrap();
        assert!(narrowed.check().unwrap_err().to_string().contains("CONCORD_PRACTICE"));
    }
}
