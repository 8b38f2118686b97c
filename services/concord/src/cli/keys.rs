//! The options of the commands that make keys, and tokens of them.

use std::path::PathBuf;

use clap::Args;
use shared::{
    access::Role,
    caller::{DEFAULT_ACCOUNT, Product},
    identity::tokens::AUDIENCE,
};

/// The issuer of tokens that are made by hand.
const ISSUER: &str = "concord-token";

#[derive(Args, Debug)]
pub(crate) struct KeysOptions {
    /// The folder to write them to. Files that are there already stay as they are
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// A name or an address of the services: makes their certificate, and an
    /// authority for it
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// A product that is to show a certificate: makes one for it
    #[arg(long = "client", value_name = "PRODUCT", requires = "hosts")]
    pub(crate) clients: Vec<Product>,
}

#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    /// The private key to sign with, in PEM form: Ed25519, P-256 or RSA
    #[arg(long, env = "CONCORD_SIGNING_KEY", value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The practice; `*` for all of the product's
    #[arg(long, env = "CONCORD_PRACTICE", value_name = "ID")]
    pub(crate) practice: String,
    /// The product
    #[arg(long, value_name = "NAME")]
    pub(crate) product: Product,
    /// Which of the product's accounts; `*` for all of them
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ACCOUNT)]
    pub(crate) account: String,
    /// The user; nobody for a backend
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) user: String,
    /// What the holder may be
    #[arg(
        long,
        visible_alias = "role",
        value_name = "ROLE",
        value_delimiter = ',',
        default_value = "staff"
    )]
    pub(crate) roles: Vec<Role>,
    /// How long it is valid, in minutes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=525_600)
    )]
    pub(crate) minutes: u32,
    /// Who issues it
    #[arg(long, env = "CONCORD_TOKEN_ISSUER", value_name = "NAME", default_value = ISSUER)]
    pub(crate) issuer: String,
    /// Whom it is for
    #[arg(long, env = "CONCORD_TOKEN_AUDIENCE", value_name = "NAME", default_value = AUDIENCE)]
    pub(crate) audience: String,
}
