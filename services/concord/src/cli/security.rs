//! The security options of `concord serve`: authentication, TLS and trusted proxies.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use concord_server::{
    ProxyNetwork, TrustedProxies,
    identity::{ServiceSecret, tokens::AUDIENCE},
    security::{ClientTls, SecuritySettings, TlsFiles, TokenOptions},
};

/// Authentication, TLS and trusted proxies.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecurityOptions {
    /// The public keys of the token issuer, as JWKS or PEM; reloaded when the file
    /// changes. Without it only callers on this machine are accepted, and not
    /// authenticated
    #[arg(long, env = "CONCORD_TOKEN_KEYS", value_name = "FILE", requires = "token_issuer")]
    pub(crate) token_keys: Option<PathBuf>,
    /// The required issuer of tokens: their claim iss
    #[arg(long, env = "CONCORD_TOKEN_ISSUER", value_name = "NAME", requires = "token_keys")]
    pub(crate) token_issuer: Option<String>,
    /// The required audience of tokens: their claim aud
    #[arg(
        long,
        env = "CONCORD_TOKEN_AUDIENCE",
        value_name = "NAME",
        default_value = AUDIENCE
    )]
    pub(crate) token_audience: String,
    /// The secret that both services share: a file with a line of at least 32 random
    /// characters. Generated when both services run in one process
    #[arg(long, env = "CONCORD_SERVICE_SECRET", value_name = "FILE")]
    pub(crate) service_secret: Option<PathBuf>,
    /// The certificate chain of the services, as PEM
    #[arg(long, env = "CONCORD_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, env = "CONCORD_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The certificate authority of client certificates. With it every caller needs a
    /// client certificate for the product of its token
    #[arg(long, env = "CONCORD_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub(crate) client_ca: Option<PathBuf>,
    /// The certificate authority of the records service, when the imports service calls
    /// it by https; by default those of the system
    #[arg(long, env = "CONCORD_RECORDS_CA", value_name = "FILE")]
    pub(crate) records_ca: Option<PathBuf>,
    /// Serve without TLS on non-loopback addresses: a proxy in front terminates TLS
    #[arg(long, env = "CONCORD_BEHIND_PROXY")]
    pub(crate) behind_proxy: bool,
    /// A proxy or load balancer in front, as an address or a network such as
    /// 10.0.0.0/24; may be given more than once. Exempt from the limit of connections of
    /// one address
    #[arg(
        long = "trusted-proxy",
        env = "CONCORD_TRUSTED_PROXIES",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxies: Vec<ProxyNetwork>,
    /// Read the header of the PROXY protocol, version 1 or 2, on connections of trusted
    /// proxies: limits apply to the client address in it
    #[arg(long, env = "CONCORD_PROXY_PROTOCOL", requires = "trusted_proxies")]
    pub(crate) proxy_protocol: bool,
    /// Disable the gRPC reflection service
    #[arg(long, env = "CONCORD_NO_REFLECTION")]
    pub(crate) no_reflection: bool,
}

impl SecurityOptions {
    /// The security settings of a service. `in_one_process` is true when both services run
    /// in this process with the same settings.
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

    /// The TLS settings of the imports service as a client of the records service. Its
    /// client certificate is its server certificate.
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
    fn proxy_protocol_requires_trusted_proxies() {
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
