//! The command line: commands, options, and the variables that set them.

mod credential;
mod databases;
mod import;
mod imports;
mod keys;
mod limits;
mod operation;
mod serve;
mod watch;

use std::net::SocketAddr;

use anyhow::Context as _;
use chrono_tz::Tz;
use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::{
    access::Role,
    caller::{Account, PracticeId, Product},
    telemetry::LogFormat,
};

pub(crate) use credential::CredentialOptions;
use credential::named;
pub(crate) use databases::{DatabaseLimits, Databases};
pub(crate) use import::ImportOptions;
pub(crate) use imports::{
    CommitOptions, DuplicatesOptions, FailuresOptions, ImportsCommand, ImportsOptions, ListOptions,
    OneImport,
};
pub(crate) use keys::{KeysOptions, TokenOptions};
pub(crate) use limits::LimitOptions;
pub(crate) use operation::OperationOptions;
pub(crate) use serve::SecurityOptions;
pub(crate) use watch::{Echo, Kind, Start, WatchOptions};

/// Where the imports service is when nothing is said.
const IMPORTS: &str = "http://127.0.0.1:50052";

/// One client record for every product of an accountancy practice.
#[derive(Debug, Parser)]
#[command(name = "concord", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show Concord at work: both services, two products, a sample practice
    Demo(DemoOptions),
    /// Run both services, or one of them
    Serve(ServeOptions),
    /// Bring the tables of both services, or of one, to the newest version
    Migrate(MigrateOptions),
    /// Tell both services, or one, that their databases were restored from backups
    Restored(RestoredOptions),
    /// Make keys, a secret, and certificates to begin with
    Keys(KeysOptions),
    /// Sign a token, for development or when nobody else issues them
    Token(TokenOptions),
    /// Switch a product on for a practice
    Connect(ConnectOptions),
    /// Bring a practice's clients, contacts and addresses over from CSV files
    Import(ImportOptions),
    /// List imports, show one, and bring one to its end
    Imports(ImportsOptions),
    /// Listen to the changes that a product is told of
    Watch(WatchOptions),
    /// List the places that the server keeps for products, and how far behind
    /// they are
    Subscriptions(SubscriptionsOptions),
    /// Show where a change is on its way to every product
    Trace(TraceOptions),
    /// Find clients and persons by name, reference or identifier
    Find(FindOptions),
    /// Show all about one client or person: history, contacts, links, changes
    Show(ShowOptions),
}

#[derive(Args, Debug)]
pub(crate) struct DemoOptions {
    /// Where the records service listens; a free port without it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub(crate) records_listen: SocketAddr,
    /// Where the imports service listens; a free port without it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub(crate) imports_listen: SocketAddr,
    /// End when the demonstration is over, instead of staying up
    #[arg(long)]
    pub(crate) exit: bool,
}

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceName {
    /// Clients, persons, contacts, their history, and the feed of changes
    Records,
    /// Imports: uploads, checks, failures
    Imports,
}

impl ServiceName {
    /// The one that was chosen, or both.
    pub(crate) fn chosen(one: Option<Self>) -> &'static [Self] {
        match one {
            Some(Self::Records) => &[Self::Records],
            Some(Self::Imports) => &[Self::Imports],
            None => &[Self::Records, Self::Imports],
        }
    }

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Imports => "imports",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct MigrateOptions {
    /// Only this service; both without it
    pub(crate) service: Option<ServiceName>,
    #[command(flatten)]
    pub(crate) databases: Databases,
    /// The role of PostgreSQL that the service runs as, when it does not own the
    /// tables: it is given the right to read and write them
    #[arg(long, value_name = "ROLE")]
    pub(crate) grant_to: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RestoredOptions {
    /// Only this service; both without it
    pub(crate) service: Option<ServiceName>,
    #[command(flatten)]
    pub(crate) databases: Databases,
}

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Only this service; both without it
    pub(crate) service: Option<ServiceName>,
    #[command(flatten)]
    pub(crate) databases: Databases,
    #[command(flatten)]
    pub(crate) database_limits: DatabaseLimits,
    /// Leave the tables as they are, and do not start when they are not of this
    /// version; `concord migrate` brings them up to date
    #[arg(long, env = "CONCORD_NO_MIGRATE")]
    pub(crate) no_migrate: bool,
    /// Where the records service listens
    #[arg(
        long,
        env = "CONCORD_RECORDS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) records_listen: SocketAddr,
    /// Where the imports service listens
    #[arg(
        long,
        env = "CONCORD_IMPORTS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50052"
    )]
    pub(crate) imports_listen: SocketAddr,
    /// Where the imports service finds the records service; where that one
    /// listens without it
    #[arg(long, env = "CONCORD_RECORDS", value_name = "URL")]
    pub(crate) records: Option<String>,
    /// The time zone that says when a day begins
    #[arg(
        long,
        env = "CONCORD_TIME_ZONE",
        value_name = "NAME",
        default_value = "Europe/London",
        value_parser = time_zone
    )]
    pub(crate) time_zone: Tz,
    /// How the log is written; `CONCORD_LOG` says how much, such as info
    #[arg(long, env = "CONCORD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormatName,
    #[command(flatten)]
    pub(crate) security: SecurityOptions,
    #[command(flatten)]
    pub(crate) operation: OperationOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

fn time_zone(name: &str) -> Result<Tz, &'static str> {
    name.parse().map_err(|_| "not a time zone; write its name, such as Europe/London")
}

/// How the log is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormatName {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormatName> for LogFormat {
    fn from(name: LogFormatName) -> Self {
        match name {
            LogFormatName::Text => Self::Text,
            LogFormatName::Json => Self::Json,
        }
    }
}

/// Who calls, and whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct CallOptions {
    /// The practice
    #[arg(long, env = "CONCORD_PRACTICE", value_name = "ID")]
    pub(crate) practice: Option<PracticeId>,
    /// The product to act as, such as `manager` or `books`
    #[arg(long, value_name = "NAME")]
    pub(crate) product: Option<Product>,
    /// Which of the product's accounts
    #[arg(long, value_name = "NAME", default_value = shared::caller::DEFAULT_ACCOUNT)]
    pub(crate) account: Account,
    /// The user to act as
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The roles to act in
    #[arg(
        long,
        visible_alias = "role",
        value_name = "ROLE",
        value_delimiter = ',',
        default_value = "owner"
    )]
    pub(crate) roles: Vec<Role>,
    /// Why support asks, such as the number of a ticket: is kept, and needed in the
    /// role support
    #[arg(long, env = "CONCORD_REASON", value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Where the records service is
    #[arg(
        long,
        env = "CONCORD_RECORDS",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051"
    )]
    pub(crate) records: String,
    /// Where the imports service is
    #[arg(
        long,
        env = "CONCORD_IMPORTS",
        value_name = "URL",
        default_value = IMPORTS
    )]
    pub(crate) imports: String,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) credential: CredentialOptions,
}

impl CallOptions {
    /// The practice, which this command cannot do without.
    pub(crate) fn practice(&self) -> anyhow::Result<PracticeId> {
        self.named_practice()?.context("which practice? Say --practice ID, or set CONCORD_PRACTICE")
    }

    /// The practice that the options or the token name, if they do.
    pub(crate) fn named_practice(&self) -> anyhow::Result<Option<PracticeId>> {
        let claims = self.credential.claims()?;
        let claimed = claims.as_ref().map(|claims| claims.practice.as_str());
        named(self.practice.as_ref(), claimed, "practice")
    }

    /// The product, which this command cannot do without.
    pub(crate) fn product(&self) -> anyhow::Result<Product> {
        let claims = self.credential.claims()?;
        let claimed = claims.as_ref().map(|claims| claims.product.as_str());
        named(self.product.as_ref(), claimed, "product")?
            .context("as which product? Say --product NAME, such as manager")
    }

    /// What another command about imports needs to call in the same way.
    pub(crate) fn to_arguments(&self) -> String {
        let roles = self.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let ca = self.credential.ca.as_ref().map(|ca| ca.display().to_string());
        let ca = ca.unwrap_or_default();
        let options = [
            ("--practice", self.practice.as_ref().map_or("", PracticeId::as_str), ""),
            ("--product", self.product.as_ref().map_or("", Product::as_str), ""),
            ("--account", self.account.as_str(), shared::caller::DEFAULT_ACCOUNT),
            ("--user", self.user.as_deref().unwrap_or_default(), ""),
            ("--roles", &roles, "owner"),
            ("--reason", self.reason.as_deref().unwrap_or_default(), ""),
            ("--imports", &self.imports, IMPORTS),
            ("--ca", &ca, ""),
        ];
        let said = options.iter().filter(|(_, value, usual)| value != usual);
        said.map(|(name, value, _)| format!("{name} {}", quoted(value)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[derive(Args, Debug)]
pub(crate) struct ConnectOptions {
    /// The product to switch on, such as `manager` or `books`
    #[arg(value_name = "PRODUCT")]
    pub(crate) connected: Product,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

/// A kind of record that can be found by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamedKind {
    /// Businesses and individuals
    Client,
    /// Human beings
    Person,
}

#[derive(Args, Debug)]
pub(crate) struct FindOptions {
    /// Beginnings of words of a name, of today or another time, in any letter
    /// case and without accents; or a whole client reference or identifier. At
    /// least three letters or digits
    #[arg(required = true, value_name = "WORDS")]
    pub(crate) words: Vec<String>,
    /// Only this kind of record
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<NamedKind>,
    /// Also records that no product uses any longer, which wait for their removal
    #[arg(long)]
    pub(crate) all: bool,
    /// Show at most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct ShowOptions {
    /// The client or person: an id, or `ref:` and the client reference,
    /// `company:` and the company number, `ext:PRODUCT/ACCOUNT/` and the
    /// product's own id
    #[arg(value_name = "RECORD")]
    pub(crate) record: String,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct SubscriptionsOptions {
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[derive(Args, Debug)]
pub(crate) struct TraceOptions {
    /// The change, `chg_…`; or a client, person or contact whose last changes are
    /// traced: an id, or an alias such as `ref:` and the client reference
    #[arg(value_name = "CHANGE|RECORD")]
    pub(crate) what: String,
    /// Trace so many of a record's last changes, up to 20; only the last one when
    /// nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=20))]
    pub(crate) max: Option<i32>,
    /// Only on the way to this product
    #[arg(long, value_name = "PRODUCT")]
    pub(crate) to: Option<Product>,
    #[command(flatten)]
    pub(crate) call: CallOptions,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_product_of_another_form_is_refused_with_the_form() {
        let refused = Cli::try_parse_from(["concord", "connect", "Manager"]).unwrap_err();
        assert!(refused.to_string().contains("lower-case letters"));
    }

    #[test]
    fn a_command_without_its_practice_says_how_to_name_one() {
        let cli = Cli::try_parse_from(["concord", "connect", "books"]).unwrap();
        let Command::Connect(options) = cli.command else { panic!("another command") };
        // Set where the tests run, perhaps.
        if options.call.practice.is_none() {
            let error = options.call.practice().unwrap_err().to_string();
            assert!(error.contains("--practice"), "{error}");
        }
    }
}
