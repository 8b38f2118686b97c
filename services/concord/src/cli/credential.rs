//! The options that prove who calls, and those that check who answers.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use shared::{
    identity::tokens::{self, ALL, Claims},
    security::ClientTls,
};

/// A token, and the certificates of the connection.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CredentialOptions {
    /// The token to call with; it says practice, product, account, user and roles,
    /// and those options are not needed then
    #[arg(long, env = "CONCORD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The authority of the services' certificates, in PEM form; those of the system
    /// without it
    #[arg(long, env = "CONCORD_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The certificate to show to services that ask for one
    #[arg(long, env = "CONCORD_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, env = "CONCORD_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
}

impl CredentialOptions {
    /// What the token says; none when there is no token.
    pub(crate) fn claims(&self) -> anyhow::Result<Option<Claims>> {
        let Some(token) = &self.token else { return Ok(None) };
        let claims = tokens::read(token).context("the token is not a JWT with Concord's claims")?;
        Ok(Some(claims))
    }

    /// How the transport checks the services.
    pub(crate) fn tls(&self) -> ClientTls {
        let certificate = self.client_cert.clone().zip(self.client_key.clone());
        ClientTls { authority: self.ca.clone(), certificate }
    }
}

/// The name in the option, or the one that the token is for. `what` is the name of
/// the option.
pub(super) fn named<T>(
    option: Option<&T>,
    claimed: Option<&str>,
    what: &str,
) -> anyhow::Result<Option<T>>
where
    T: std::str::FromStr<Err = &'static str> + Clone + PartialEq + std::fmt::Display,
{
    match (option, claimed.filter(|claimed| *claimed != ALL)) {
        (option, None) => Ok(option.cloned()),
        (None, Some(claimed)) => {
            let name = claimed.parse().map_err(anyhow::Error::msg);
            Ok(Some(name.with_context(|| format!("the token's {what}"))?))
        }
        (Some(option), Some(claimed)) if option.to_string() == claimed => Ok(Some(option.clone())),
        (Some(option), Some(claimed)) => {
            bail!("--{what} says {option}, and the token is for {claimed}")
        }
    }
}
