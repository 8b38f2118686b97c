//! The options that authenticate the caller and the services.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use concord_server::{
    identity::tokens::{self, ALL, Claims},
    security::ClientTls,
};

/// The token of the caller, and the TLS certificates.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct CredentialOptions {
    /// The token to call with; it names practice, product, account, user and roles, so
    /// that those options are not needed
    #[arg(long, env = "CONCORD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The certificate authority of the services' certificates, as PEM; by default those
    /// of the system
    #[arg(long, env = "CONCORD_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The client certificate, for services that require one
    #[arg(long, env = "CONCORD_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, env = "CONCORD_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
}

impl CredentialOptions {
    /// The claims of the token; none without a token.
    pub(crate) fn claims(&self) -> anyhow::Result<Option<Claims>> {
        let Some(token) = &self.token else { return Ok(None) };
        let claims = tokens::read(token).context("the token is not a JWT with Concord's claims")?;
        Ok(Some(claims))
    }

    /// The TLS settings of the connection to a service.
    pub(crate) fn tls(&self) -> ClientTls {
        let certificate = self.client_cert.clone().zip(self.client_key.clone());
        ClientTls { authority: self.ca.clone(), certificate }
    }
}

/// The name in the option, or the one in the token. `what` is the name of the option.
///
/// # Errors
///
/// When the option and the token name different ones.
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
