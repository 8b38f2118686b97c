//! Connections to the services, with the caller's identity in the metadata of every call.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, anyhow};
use concord_core::caller::{self, PracticeId};
use concord_proto::pb::{
    imports::import_service_client::ImportServiceClient,
    records::{
        change_service_client::ChangeServiceClient, client_service_client::ClientServiceClient,
        connection_service_client::ConnectionServiceClient,
        support_service_client::SupportServiceClient,
    },
};
use concord_server::{
    identity::{
        TOKEN_HEADER,
        tokens::{ALL, Claims},
    },
    reach::{self, ConnectFailure},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::cli::CallOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval and the timeout of HTTP/2 keepalive pings. They detect a server whose
/// machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// The metadata that identifies the caller. An interceptor adds it to every call.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    metadata: Vec<(&'static str, MetadataValue<Ascii>)>,
}

impl Identity {
    /// The identity from the options: a token, or the headers for development.
    pub(crate) fn of(options: &CallOptions) -> anyhow::Result<Self> {
        match (options.credential.token.as_deref(), options.credential.claims()?) {
            (Some(token), Some(claims)) => Self::of_token(options, token, &claims),
            _ => Self::development(options),
        }
    }

    /// A token, and headers for what the token leaves open: the practice, the account and
    /// the user of a token for all of them.
    fn of_token(options: &CallOptions, token: &str, claims: &Claims) -> anyhow::Result<Self> {
        options.product()?;
        let practice = options.named_practice()?;
        let for_all = |claim: &str| claim == ALL;
        let all_practices = for_all(&claims.practice);
        let all_accounts = claims.account.as_deref().is_some_and(for_all);
        let mut identity = Self::metadata([
            (
                caller::PRACTICE_HEADER,
                practice.as_ref().map(PracticeId::as_str).filter(|_| all_practices),
            ),
            (caller::ACCOUNT_HEADER, Some(options.account.as_str()).filter(|_| all_accounts)),
            (caller::USER_HEADER, options.user.as_deref().filter(|_| all_practices)),
            (caller::REASON_HEADER, options.reason.as_deref()),
        ])?;
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().context("the token contains invalid characters")?;
        bearer.set_sensitive(true);
        identity.metadata.push((TOKEN_HEADER, bearer));
        Ok(identity)
    }

    fn development(options: &CallOptions) -> anyhow::Result<Self> {
        let product = options.product()?;
        let roles = options.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Self::metadata([
            (caller::PRACTICE_HEADER, options.practice.as_ref().map(PracticeId::as_str)),
            (caller::PRODUCT_HEADER, Some(product.as_str())),
            (caller::ACCOUNT_HEADER, Some(options.account.as_str())),
            (caller::USER_HEADER, options.user.as_deref()),
            (caller::ROLES_HEADER, Some(roles.as_str())),
            (caller::REASON_HEADER, options.reason.as_deref()),
        ])
    }

    fn metadata<const N: usize>(named: [(&'static str, Option<&str>); N]) -> anyhow::Result<Self> {
        let mut metadata = Vec::with_capacity(N);
        for (name, value) in named {
            let Some(value) = value else { continue };
            let value = value.parse().with_context(|| {
                format!("`{value}` cannot be sent as {name}: only visible ASCII characters can")
            })?;
            metadata.push((name, value));
        }
        Ok(Self { metadata })
    }
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.metadata {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

/// The channel of the generated clients, which adds the identity to every call.
pub(crate) type AuthenticatedChannel = InterceptedService<Channel, Identity>;

/// A connection to one service. It reconnects when it is lost.
#[derive(Clone, Debug)]
pub(crate) struct ServiceClient {
    channel: AuthenticatedChannel,
}

impl ServiceClient {
    /// Connects to the records service.
    pub(crate) async fn records(options: &CallOptions) -> anyhow::Result<Self> {
        Self::connect("records", &options.records, options).await
    }

    /// Connects to the imports service.
    pub(crate) async fn imports(options: &CallOptions) -> anyhow::Result<Self> {
        Self::connect("imports", &options.imports, options).await
    }

    async fn connect(service: &str, text: &str, options: &CallOptions) -> anyhow::Result<Self> {
        let identity = Identity::of(options)?;
        let url = reach::service_url(text).with_context(|| format!("--{service}"))?;
        let mut endpoint = Endpoint::from(url.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = endpoint.tls_config(options.credential.tls().config()?);
            endpoint = tls.map_err(|error| {
                let cause = reach::innermost(&error);
                anyhow!("the certificates of --ca, --client-cert and --client-key: {cause}")
            })?;
        }
        let failure = match endpoint.connect().await {
            // A server that requires TLS or a client certificate fails the first call, and
            // not the connection.
            Ok(channel) => match reach::check(&url, channel.clone(), None).await {
                // A transient error: calls are retried.
                None | Some(ConnectFailure::Other(_)) => {
                    return Ok(Self { channel: InterceptedService::new(channel, identity) });
                }
                Some(failure) => failure,
            },
            Err(error) => reach::diagnose(&url, ConnectFailure::of(&error)).await,
        };
        let ca = options.credential.ca.as_deref();
        Err(anyhow!(explained(service, text, ca, &failure)))
    }

    pub(crate) fn connections(&self) -> ConnectionServiceClient<AuthenticatedChannel> {
        ConnectionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn changes(&self) -> ChangeServiceClient<AuthenticatedChannel> {
        ChangeServiceClient::new(self.channel.clone())
    }

    pub(crate) fn clients(&self) -> ClientServiceClient<AuthenticatedChannel> {
        ClientServiceClient::new(self.channel.clone())
    }

    pub(crate) fn support(&self) -> SupportServiceClient<AuthenticatedChannel> {
        SupportServiceClient::new(self.channel.clone())
    }

    pub(crate) fn import_calls(&self) -> ImportServiceClient<AuthenticatedChannel> {
        ImportServiceClient::new(self.channel.clone())
    }
}

/// Describes why a service cannot be reached, and the remedy. `service` is also the name of
/// the option with its URL.
fn explained(service: &str, url: &str, ca: Option<&Path>, failure: &ConnectFailure) -> String {
    let remedy = match (failure, ca) {
        (ConnectFailure::NoTls, _) => format!("write http:// in --{service}"),
        (ConnectFailure::Tls, _) => format!("write https:// in --{service}"),
        (ConnectFailure::UnknownAuthority, None) => {
            "pass the file of that authority by --ca".to_owned()
        }
        (ConnectFailure::UnknownAuthority, Some(ca)) => {
            format!("it is not that of the file {} (--ca)", ca.display())
        }
        (ConnectFailure::OtherName(_), _) => format!("use one of its names in --{service}"),
        (ConnectFailure::OutOfDate, _) => "renew it, or set the clock of this machine".to_owned(),
        (ConnectFailure::NoClientCertificate, _) => {
            "pass one by --client-cert and --client-key".to_owned()
        }
        (ConnectFailure::NotGrpc | ConnectFailure::OtherService, _) => {
            format!("is --{service} correct?")
        }
        (ConnectFailure::Other(_), _) => {
            format!("is `concord serve` running there, and is --{service} correct?")
        }
    };
    format!("cannot reach the {service} service at {url}: {failure}: {remedy}")
}
