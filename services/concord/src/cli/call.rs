//! The options of every command that calls the services: the identity of the caller, and
//! the URLs of the services.

use anyhow::Context as _;
use clap::Args;
use concord_core::{
    access::Role,
    caller::{Account, PracticeId, Product},
};

use super::{CredentialOptions, credential::named};

/// The default URL of the imports service.
const IMPORTS: &str = "http://127.0.0.1:50052";

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
