//! The options of `concord serve` that make it safe.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use shared::{
    identity::{ServiceSecret, tokens::AUDIENCE},
    security::{ClientTls, SecuritySettings, TlsFiles, TokenOptions},
    server::{ProxyNetwork, TrustedProxies},
};

/// Who is let in, and how connections are encrypted.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecurityOptions {
    /// The public keys of whoever issues the callers' tokens: a JWKS, or PEM. Read
    /// again when the file changes. Without it only callers on this machine are
    /// let in, and believed
    #[arg(long, env = "CONCORD_TOKEN_KEYS", value_name = "FILE", requires = "token_issuer")]
    pub(crate) token_keys: Option<PathBuf>,
    /// Who must have issued the tokens: their claim iss
    #[arg(long, env = "CONCORD_TOKEN_ISSUER", value_name = "NAME", requires = "token_keys")]
    pub(crate) token_issuer: Option<String>,
    /// Whom the tokens must be for: their claim aud
    #[arg(
        long,
        env = "CONCORD_TOKEN_AUDIENCE",
        value_name = "NAME",
        default_value = AUDIENCE
    )]
    pub(crate) token_audience: String,
    /// The secret that both services share: a file with a line of at least 32 random
    /// characters. When both run in one process they make one up
    #[arg(long, env = "CONCORD_SERVICE_SECRET", value_name = "FILE")]
    pub(crate) service_secret: Option<PathBuf>,
    /// The certificate of the services, in PEM form, with those between it and its
    /// authority
    #[arg(long, env = "CONCORD_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, env = "CONCORD_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The authority of client certificates. With it every caller must have one, for
    /// the product of its token
    #[arg(long, env = "CONCORD_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) client_ca: Option<PathBuf>,
    /// The authority of the certificate of the records service, when the imports
    /// service calls it by https; those of the system without it
    #[arg(long, env = "CONCORD_RECORDS_CA", value_name = "FILE")]
    pub(crate) records_ca: Option<PathBuf>,
    /// Serve without encryption on addresses that others reach: a proxy in front
    /// ends TLS
    #[arg(long, env = "CONCORD_BEHIND_PROXY")]
    pub(crate) behind_proxy: bool,
    /// A proxy or load balancer in front, as an address or a network such as
    /// 10.0.0.0/24; may be given more than once. Its connections do not count as those
    /// of one address
    #[arg(
        long = "trusted-proxy",
        env = "CONCORD_TRUSTED_PROXIES",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxies: Vec<ProxyNetwork>,
    /// Connections of the trusted proxies begin with a header of the PROXY protocol,
    /// version 1 or 2: the client that it names is counted
    #[arg(long, env = "CONCORD_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub(crate) proxy_protocol: bool,
    /// Leave out the reflection service
    #[arg(long, env = "CONCORD_NO_REFLECTION")]
    pub(crate) no_reflection: bool,
}

impl SecurityOptions {
    /// The settings of a service. `in_one_process` says that the other one runs
    /// beside it, and is given the same settings.
    pub(crate) fn settings(&self, in_one_process: bool) -> anyhow::Result<SecuritySettings> {
        let tokens = self.token_keys.clone().zip(self.token_issuer.clone());
        let tokens = tokens.map(|(keys, issuer)| TokenOptions {
            audience: self.token_audience.clone(),
            ..TokenOptions::new(keys, issuer)
        });
        let service_secret = match &self.service_secret {
            Some(file) => Some(ServiceSecret::read(file)?),
            None if in_one_process => {
                Some(ServiceSecret::random().context("the system has no random bytes")?)
            }
            None => None,
        };
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = files.map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_authority: self.client_ca.clone(),
        });
        Ok(SecuritySettings {
            tokens,
            service_secret,
            tls,
            behind_proxy: self.behind_proxy,
            proxies: TrustedProxies {
                networks: self.trusted_proxies.clone(),
                proxy_protocol: self.proxy_protocol,
            },
            no_reflection: self.no_reflection,
        })
    }

    /// How the imports service checks the records service: and the certificate that
    /// it shows, which is its own.
    pub(crate) fn records_tls(&self) -> ClientTls {
        let certificate = self.tls_cert.clone().zip(self.tls_key.clone());
        ClientTls { authority: self.records_ca.clone(), certificate }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command};

    #[test]
    fn proxies_are_given_as_a_list_and_the_proxy_protocol_needs_one() {
        let serve = |more: &[&str]| Cli::try_parse_from([&["concord", "serve"], more].concat());
        let named = ["--trusted-proxy", "10.0.0.0/24,192.0.2.7", "--proxy-protocol"];
        let Command::Serve(options) = serve(&named).unwrap().command else {
            panic!("another command")
        };
        let proxies = options.security.settings(true).unwrap().proxies;
        let networks: Vec<_> = proxies.networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/24", "192.0.2.7/32"]);
        assert!(proxies.proxy_protocol);
        assert!(serve(&["--proxy-protocol"]).is_err());
        assert!(serve(&["--trusted-proxy", "balancer.example"]).is_err());
    }
}
