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

/// Who calls.
const IDENTITY: [(&str, &str); 4] = [
    (caller::PRACTICE_HEADER, "bench"),
    (caller::PRODUCT_HEADER, "manager"),
    (caller::USER_HEADER, "olivia"),
    (caller::ROLES_HEADER, "owner"),
];

/// The products that are switched on: the one that calls, and one that hears.
const PRODUCTS: [&str; 2] = ["manager", "books"];

/// Over how many connections calls are spread.
const CONNECTIONS: usize = 4;

/// Puts the caller's identity on every call.
#[derive(Clone, Debug)]
pub(crate) struct Identity;

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in IDENTITY {
            request.metadata_mut().insert(name, MetadataValue::<Ascii>::from_static(value));
        }
        Ok(request)
    }
}

/// What makes the calls of the measured RPCs.
pub(crate) type Clients = ClientServiceClient<InterceptedService<Channel, Identity>>;

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
        let clock = Clock::system(Tz::Europe__London);
        let config = RecordsConfig::new(([127, 0, 0, 1], 0).into(), database, clock);
        let service = records::Application::build(config).await?;
        let (url, stop) = (format!("http://{}", service.address()), CancellationToken::new());
        let task = tokio::spawn(service.run_until(stop.clone()));
        let service = Self { url, stop, task };
        service.connect_products().await?;
        Ok(service)
    }

    async fn connect_products(&self) -> anyhow::Result<()> {
        let channel = channel(&self.url).await?;
        let wire = InterceptedService::new(channel, Identity);
        let mut connections = ConnectionServiceClient::new(wire);
        for product in PRODUCTS {
            let request = ConnectProductRequest { product: product.to_owned() };
            connections.connect_product(request).await?;
        }
        Ok(())
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

/// Connections to whatever answers at `url`.
pub(crate) async fn clients(url: &str) -> anyhow::Result<Vec<Clients>> {
    let mut clients = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let wire = InterceptedService::new(channel(url).await?, Identity);
        clients.push(ClientServiceClient::new(wire));
    }
    Ok(clients)
}

async fn channel(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("cannot connect to {url}"))
}
