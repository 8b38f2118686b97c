//! The options of `concord keys` and `concord token`.

use std::path::PathBuf;

use clap::Args;
use concord_core::{
    access::Role,
    caller::{DEFAULT_ACCOUNT, Product},
};
use concord_server::identity::tokens::AUDIENCE;

/// The default issuer of tokens that `concord token` signs.
const ISSUER: &str = "concord-token";

#[derive(Args, Debug)]
pub(crate) struct KeysOptions {
    /// The folder to write the files to. Existing files are not changed
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// A host name or an address of the services: generates their certificate, and a
    /// certificate authority for it
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// A product: generates a client certificate for it
    #[arg(long = "client", value_name = "PRODUCT", requires = "hosts")]
    pub(crate) clients: Vec<Product>,
}

#[derive(Args, Debug)]
pub(crate) struct TokenOptions {
    /// The private key to sign with, as PEM: Ed25519, P-256 or RSA
    #[arg(long, env = "CONCORD_SIGNING_KEY", value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The practice; `*` for all practices of the product
    #[arg(long, env = "CONCORD_PRACTICE", value_name = "ID")]
    pub(crate) practice: String,
    /// The product
    #[arg(long, value_name = "NAME")]
    pub(crate) product: Product,
    /// Which of the product's accounts; `*` for all of them
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ACCOUNT)]
    pub(crate) account: String,
    /// The user; empty for a backend
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) user: String,
    /// The roles that the holder may act in
    #[arg(
        long,
        visible_alias = "role",
        value_name = "ROLE",
        value_delimiter = ',',
        default_value = "staff"
    )]
    pub(crate) roles: Vec<Role>,
    /// The validity in minutes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=525_600)
    )]
    pub(crate) minutes: u32,
    /// The issuer: the claim iss
    #[arg(long, env = "CONCORD_TOKEN_ISSUER", value_name = "NAME", default_value = ISSUER)]
    pub(crate) issuer: String,
    /// The audience: the claim aud
    #[arg(long, env = "CONCORD_TOKEN_AUDIENCE", value_name = "NAME", default_value = AUDIENCE)]
    pub(crate) audience: String,
}
