//! The records service in this process, on a free port, and connections to it.

use anyhow::Context as _;
use chrono_tz::Tz;
use records::RecordsConfig;
use shared::{
    caller,
    clock::Clock,
    db::DatabaseSettings,
    pb::records::{
        ConnectProductRequest, client_service_client::ClientServiceClient,
        connection_service_client::ConnectionServiceClient,
    },
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// The practice whose records are measured.
pub(crate) const PRACTICE: &str = "bench";

/// The product that calls, and one that hears.
pub(crate) const SAVES: &str = "manager";
pub(crate) const HEARS: &str = "books";

/// The products that are switched on.
pub(crate) const PRODUCTS: [&str; 2] = [SAVES, HEARS];

/// Over how many connections calls are spread.
const CONNECTIONS: usize = 4;

/// Open streams at most: more than are measured.
const STREAMS: u32 = 2_000;

/// Who calls; put on every call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) practice: &'static str,
    pub(crate) product: &'static str,
    pub(crate) roles: &'static str,
    /// The import that a call of the imports service is made for.
    pub(crate) import: Option<&'static str>,
}

impl Identity {
    /// The practice of a product that asks for all of its practices.
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

/// What calls are sent through.
pub(crate) type Wire = InterceptedService<Channel, Identity>;

/// What makes the calls of the measured RPCs.
pub(crate) type Clients = ClientServiceClient<Wire>;

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), records::StartError>>,
}

impl Service {
    /// Starts it with products switched on.
    pub(crate) async fn start(database: DatabaseSettings) -> anyhow::Result<Self> {
        let service = records::Application::build(records_config(database)).await?;
        let (url, stop) = (format!("http://{}", service.address()), CancellationToken::new());
        let task = tokio::spawn(service.run_until(stop.clone()));
        let service = Self { url, stop, task };
        service.connect_products(PRACTICE).await?;
        Ok(service)
    }

    /// Switches the products on for a practice.
    pub(crate) async fn connect_products(&self, practice: &'static str) -> anyhow::Result<()> {
        connect_products(&self.url, practice, &PRODUCTS).await
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A connection to it.
    pub(crate) async fn wire(&self, identity: Identity) -> anyhow::Result<Wire> {
        wire(&self.url, identity).await
    }

    /// Connections to it.
    pub(crate) async fn clients(&self) -> anyhow::Result<Vec<Clients>> {
        clients(&self.url).await
    }

    /// Drains and stops it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.task.await.context("the service broke")??)
    }
}

/// The settings of a records service that is measured.
pub(crate) fn records_config(database: DatabaseSettings) -> RecordsConfig {
    let clock = Clock::system(Tz::Europe__London);
    let mut config = RecordsConfig::new(([127, 0, 0, 1], 0).into(), database, clock);
    // What is measured is how many there can be.
    config.limits.requests_per_second = 0;
    // One practice has a part of them.
    (config.limits.streams, config.limits.streams_of_product) = (STREAMS, 4 * STREAMS);
    config
}

/// Switches products on for a practice.
pub(crate) async fn connect_products(
    url: &str,
    practice: &'static str,
    products: &[&str],
) -> anyhow::Result<()> {
    let mut connections =
        ConnectionServiceClient::new(wire(url, Identity::owner(practice, SAVES)).await?);
    for product in products {
        let request = ConnectProductRequest { product: (*product).to_owned() };
        connections.connect_product(request).await?;
    }
    Ok(())
}

/// A connection to the service at `url`.
pub(crate) async fn wire(url: &str, identity: Identity) -> anyhow::Result<Wire> {
    Ok(InterceptedService::new(channel(url).await?, identity))
}

/// Connections to whatever answers at `url`.
pub(crate) async fn clients(url: &str) -> anyhow::Result<Vec<Clients>> {
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let identity = Identity::owner(PRACTICE, SAVES);
        let wire = InterceptedService::new(channel(url).await?, identity);
        clients.push(ClientServiceClient::new(wire));
    }
    Ok(clients)
}

/// A connection to whatever answers at `url`.
pub(crate) async fn channel(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("cannot connect to {url}"))
}
