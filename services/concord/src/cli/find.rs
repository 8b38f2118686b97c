//! The options of the commands that read records: `concord find` and `concord show`.

use clap::{Args, ValueEnum};

use super::{CallOptions, ResultOptions};

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
    #[command(flatten)]
    pub(crate) results: ResultOptions,
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
