//! The command line: subcommands, options, and their environment variables.

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
use concord_core::{
    access::Role,
    caller::{Account, PracticeId, Product},
};
use concord_server::telemetry::LogFormat;

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

/// The default URL of the imports service.
const IMPORTS: &str = "http://127.0.0.1:50052";

/// One client record for every product of an accountancy practice.
#[derive(Debug, Parser)]
#[command(name = "concord", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a demonstration: both services, two products, a sample practice
    Demo(DemoOptions),
    /// Run both services, or one of them
    Serve(ServeOptions),
    /// Migrate the database schemas of both services, or of one, to this version
    Migrate(MigrateOptions),
    /// Start new feed epochs and new leases after databases were restored from backups
    #[command(alias = "restored")]
    PostRestore(PostRestoreOptions),
    /// Generate keys, a secret, and certificates
    Keys(KeysOptions),
    /// Sign a token, for development or without a token issuer
    Token(TokenOptions),
    /// Connect a product to a practice
    Connect(ConnectOptions),
    /// Import a practice's clients, contacts and addresses from CSV files
    Import(ImportOptions),
    /// List, show, watch, commit and cancel imports
    Imports(ImportsOptions),
    /// Subscribe to the change events of a product, and print them
    Watch(WatchOptions),
    /// List the subscriptions of products, with their positions and their lag
    Subscriptions(SubscriptionsOptions),
    /// Show the delivery state of a change for every product
    Trace(TraceOptions),
    /// Find clients and persons by name, reference or identifier
    Find(FindOptions),
    /// Show one client or person: history, contacts, links, changes
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
    /// Exit at the end of the demonstration, instead of keeping the services running
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
    /// The chosen service, or both.
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
    /// The PostgreSQL role of the service, when it does not own the tables: grants it the
    /// right to read and write them
    #[arg(long, value_name = "ROLE")]
    pub(crate) grant_to: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PostRestoreOptions {
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
    /// Do not migrate the schemas, and do not start when they are not of this version;
    /// `concord migrate` migrates them
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
    /// The URL of the records service for the imports service; by default the address
    /// that the records service listens on
    #[arg(long, env = "CONCORD_RECORDS", value_name = "URL")]
    pub(crate) records: Option<String>,
    /// The time zone in which days begin
    #[arg(
        long,
        env = "CONCORD_TIME_ZONE",
        value_name = "NAME",
        default_value = "Europe/London",
        value_parser = time_zone
    )]
    pub(crate) time_zone: Tz,
    /// The format of the log; `CONCORD_LOG` sets its level, such as info
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

/// A format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormatName {
    /// Plain text
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

/// The identity of the caller, and the URLs of the services.
#[derive(Args, Clone, Debug)]
pub(crate) struct CallOptions {
    /// The practice
    #[arg(long, env = "CONCORD_PRACTICE", value_name = "ID")]
    pub(crate) practice: Option<PracticeId>,
    /// The product to act as, such as `manager` or `books`
    #[arg(long, value_name = "NAME")]
    pub(crate) product: Option<Product>,
    /// Which of the product's accounts
    #[arg(long, value_name = "NAME", default_value = concord_core::caller::DEFAULT_ACCOUNT)]
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
    /// The reason of a support access, such as a ticket number: recorded in the access
    /// log, and required in the role support
    #[arg(long, env = "CONCORD_REASON", value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The URL of the records service
    #[arg(
        long,
        env = "CONCORD_RECORDS",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051"
    )]
    pub(crate) records: String,
    /// The URL of the imports service
    #[arg(
        long,
        env = "CONCORD_IMPORTS",
        value_name = "URL",
        default_value = IMPORTS
    )]
    pub(crate) imports: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) credential: CredentialOptions,
}

impl CallOptions {
    /// The practice; an error when neither the options nor the token name one.
    pub(crate) fn practice(&self) -> anyhow::Result<PracticeId> {
        self.named_practice()?.context("no practice: pass --practice ID, or set CONCORD_PRACTICE")
    }

    /// The practice that the options or the token name, if any.
    pub(crate) fn named_practice(&self) -> anyhow::Result<Option<PracticeId>> {
        let claims = self.credential.claims()?;
        let claimed = claims.as_ref().map(|claims| claims.practice.as_str());
        named(self.practice.as_ref(), claimed, "practice")
    }

    /// The product; an error when neither the options nor the token name one.
    pub(crate) fn product(&self) -> anyhow::Result<Product> {
        let claims = self.credential.claims()?;
        let claimed = claims.as_ref().map(|claims| claims.product.as_str());
        named(self.product.as_ref(), claimed, "product")?
            .context("no product: pass --product NAME, such as manager")
    }

    /// The options that another `concord imports` command needs to call as the same caller.
    pub(crate) fn to_arguments(&self) -> String {
        let roles = self.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let ca = self.credential.ca.as_ref().map(|ca| ca.display().to_string());
        let ca = ca.unwrap_or_default();
        let options = [
            ("--practice", self.practice.as_ref().map_or("", PracticeId::as_str), ""),
            ("--product", self.product.as_ref().map_or("", Product::as_str), ""),
            ("--account", self.account.as_str(), concord_core::caller::DEFAULT_ACCOUNT),
            ("--user", self.user.as_deref().unwrap_or_default(), ""),
            ("--roles", &roles, "owner"),
            ("--reason", self.reason.as_deref().unwrap_or_default(), ""),
            ("--imports", &self.imports, IMPORTS),
            ("--ca", &ca, ""),
        ];
        let set = options.iter().filter(|(_, value, default)| value != default);
        set.map(|(name, value, _)| format!("{name} {}", quoted(value)))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Quotes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[derive(Args, Debug)]
pub(crate) struct ConnectOptions {
    /// The product to connect, such as `manager` or `books`
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
    /// Prefixes of words of a current or former name, case and accents ignored; or a
    /// whole client reference or identifier. At least three letters or digits
    #[arg(required = true, value_name = "WORDS")]
    pub(crate) words: Vec<String>,
    /// Only this kind of record
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<NamedKind>,
    /// Include orphaned records, which no product uses and which are to be purged
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
    /// A change, `chg_…`; or a client, person or contact, to trace its last changes: an
    /// id, or an alias such as `ref:` and the client reference
    #[arg(value_name = "CHANGE|RECORD")]
    pub(crate) what: String,
    /// The number of the record's last changes to trace, up to 20; by default 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=20))]
    pub(crate) max: Option<i32>,
    /// Only the delivery to this product
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
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn invalid_product_name_error_names_the_format() {
        let error = Cli::try_parse_from(["concord", "connect", "Manager"]).unwrap_err();
        assert!(error.to_string().contains("lower-case letters"));
    }

    #[test]
    fn missing_practice_error_names_the_option() {
        let cli = Cli::try_parse_from(["concord", "connect", "books"]).unwrap();
        let Command::Connect(options) = cli.command else { panic!("another command") };
        // CONCORD_PRACTICE may be set in the environment of the tests.
        if options.call.practice.is_none() {
            let error = options.call.practice().unwrap_err().to_string();
            assert!(error.contains("--practice"), "{error}");
        }
    }
}
