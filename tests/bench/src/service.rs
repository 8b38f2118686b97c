//! The records service in this process, on a free port, and connections to it.

use anyhow::Context as _;
use chrono_tz::Tz;
use concord_core::{caller, clock::Clock};
use concord_db::DatabaseSettings;
use concord_proto::pb::records::{
    ConnectProductRequest, client_service_client::ClientServiceClient,
    connection_service_client::ConnectionServiceClient,
};
use records::RecordsConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// The measured practice.
pub(crate) const PRACTICE: &str = "bench";

/// The product that writes.
pub(crate) const WRITER: &str = "manager";
/// A product that subscribes.
pub(crate) const SUBSCRIBER: &str = "books";

/// The connected products.
pub(crate) const PRODUCTS: [&str; 2] = [WRITER, SUBSCRIBER];

/// Number of connections for the calls.
const CONNECTIONS: usize = 4;

/// Limit of open streams: more than are measured.
const STREAMS: u32 = 2_000;

/// The identity of the caller, added to every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) practice: &'static str,
    pub(crate) product: &'static str,
    pub(crate) roles: &'static str,
    /// The import that a call of the imports service is for.
    pub(crate) import: Option<&'static str>,
}

impl Identity {
    /// The practice of a call for all practices of the product.
    pub(crate) const ALL: &str = "";

    /// An owner of a practice, in a product.
    pub(crate) const fn owner(practice: &'static str, product: &'static str) -> Self {
        Self { practice, product, roles: "owner", import: None }
    }
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let headers = [
            (caller::PRACTICE_HEADER, self.practice),
            (caller::PRODUCT_HEADER, self.product),
            (caller::USER_HEADER, "olivia"),
            (caller::ROLES_HEADER, self.roles),
        ];
        let import = self.import.map(|import| (caller::IMPORT_HEADER, import));
        let named = headers.into_iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in named.chain(import) {
            request.metadata_mut().insert(name, MetadataValue::<Ascii>::from_static(value));
        }
        Ok(request)
    }
}

/// An authenticated connection.
pub(crate) type Wire = InterceptedService<Channel, Identity>;

/// A client of the measured RPCs.
pub(crate) type Clients = ClientServiceClient<Wire>;

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), records::StartError>>,
}

impl Service {
    /// Starts a service and connects the products.
    pub(crate) async fn start(database: DatabaseSettings) -> anyhow::Result<Self> {
        let service = records::Application::build(records_config(database)).await?;
        let (url, stop) = (format!("http://{}", service.address()), CancellationToken::new());
        let task = tokio::spawn(service.run_until(stop.clone()));
        let service = Self { url, stop, task };
        service.connect_products(PRACTICE).await?;
        Ok(service)
    }

    /// Connects the products of a practice.
    pub(crate) async fn connect_products(&self, practice: &'static str) -> anyhow::Result<()> {
        connect_products(&self.url, practice, &PRODUCTS).await
    }

    /// The URL of the service.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Opens a connection.
    pub(crate) async fn wire(&self, identity: Identity) -> anyhow::Result<Wire> {
        wire(&self.url, identity).await
    }

    /// Opens several connections.
    pub(crate) async fn clients(&self) -> anyhow::Result<Vec<Clients>> {
        clients(&self.url).await
    }

    /// Stops the service gracefully.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.task.await.context("the service panicked")??)
    }
}

/// The settings of a measured records service.
pub(crate) fn records_config(database: DatabaseSettings) -> RecordsConfig {
    let clock = Clock::system(Tz::Europe__London);
    let mut config = RecordsConfig::new(([127, 0, 0, 1], 0).into(), database, clock);
    // No rate limit: the benchmark measures the maximum.
    config.limits.requests_per_second = 0;
    // A practice gets a share of the streams of a product.
    (config.limits.streams, config.limits.streams_of_product) = (STREAMS, 4 * STREAMS);
    config
}

/// Connects products of a practice.
pub(crate) async fn connect_products(
    url: &str,
    practice: &'static str,
    products: &[&str],
) -> anyhow::Result<()> {
    let mut connections =
        ConnectionServiceClient::new(wire(url, Identity::owner(practice, WRITER)).await?);
    for product in products {
        let request = ConnectProductRequest { product: (*product).to_owned() };
        connections.connect_product(request).await?;
    }
    Ok(())
}

/// Opens an authenticated connection to the service at `url`.
pub(crate) async fn wire(url: &str, identity: Identity) -> anyhow::Result<Wire> {
    Ok(InterceptedService::new(channel(url).await?, identity))
}

/// Opens several connections to the server at `url`.
pub(crate) async fn clients(url: &str) -> anyhow::Result<Vec<Clients>> {
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let identity = Identity::owner(PRACTICE, WRITER);
        let wire = InterceptedService::new(channel(url).await?, identity);
        clients.push(ClientServiceClient::new(wire));
    }
    Ok(clients)
}

/// Opens a connection to the server at `url`.
pub(crate) async fn channel(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("cannot connect to {url}"))
}
