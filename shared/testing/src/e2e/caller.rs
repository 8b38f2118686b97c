//! API callers: a connection with credentials.

use concord_proto::pb::{
    imports::import_service_client::ImportServiceClient,
    internal::ingest_service_client::IngestServiceClient,
    records::{
        ConnectProductRequest, change_service_client::ChangeServiceClient,
        client_service_client::ClientServiceClient,
        connection_service_client::ConnectionServiceClient,
        contact_service_client::ContactServiceClient, history_service_client::HistoryServiceClient,
        person_service_client::PersonServiceClient, support_service_client::SupportServiceClient,
    },
};
use concord_server::identity::tokens;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A new request id (idempotency key).
pub fn request_id() -> String {
    concord_core::ids::new_uuid().to_string()
}

/// An interceptor that sets headers on every call.
#[derive(Clone, Debug)]
pub struct Headers(Vec<(&'static str, MetadataValue<Ascii>)>);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

/// The transport of the generated clients.
pub type Service = InterceptedService<Channel, Headers>;

/// A caller: its connection and the headers that identify it.
#[derive(Clone, Debug)]
pub struct Caller {
    channel: Channel,
    headers: Headers,
}

impl Caller {
    /// An owner of the practice, in a product.
    pub fn owner(channel: Channel, practice: &str, product: &str) -> Self {
        Self { channel, headers: Headers(Vec::new()) }
            .with("x-concord-practice", practice)
            .with("x-concord-product", product)
            .with("x-concord-user", "olivia")
            .with("x-concord-roles", "owner")
    }

    /// A caller with a bearer token.
    pub fn bearer(channel: Channel, token: &str) -> Self {
        let headers = Headers(Vec::new());
        Self { channel, headers }.with("authorization", &format!("Bearer {token}"))
    }

    /// The same with another header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.0.retain(|(other, _)| *other != name);
        self.headers.0.push((name, value.parse().unwrap()));
        self
    }

    /// The same without a header.
    #[must_use]
    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.0.retain(|(other, _)| *other != name);
        self
    }

    /// The same in the role support, with a reason.
    #[must_use]
    pub fn as_support(&self) -> Self {
        self.clone().with("x-concord-roles", "support").with("x-concord-reason", "ticket 4711")
    }

    /// The imports service, acting for an import of the caller's product.
    #[must_use]
    pub fn for_import(self, import: &str) -> Self {
        self.with("x-concord-roles", "service").with("x-concord-import", import)
    }

    /// Connects the caller's product to the practice.
    pub async fn connect(self) -> Self {
        let product = self.product();
        self.connections().connect_product(ConnectProductRequest { product }).await.unwrap();
        self
    }

    /// The product that the headers, or the token in them, are for.
    fn product(&self) -> String {
        let header = |wanted| {
            let header = self.headers.0.iter().find(|(name, _)| *name == wanted);
            header.map(|(_, value)| value.to_str().unwrap())
        };
        let claimed = || tokens::read(header("authorization")?.strip_prefix("Bearer ")?);
        let named = header("x-concord-product").map(str::to_owned);
        named.or_else(|| Some(claimed()?.product)).unwrap()
    }

    /// The transport of the generated clients.
    pub fn service(&self) -> Service {
        InterceptedService::new(self.channel.clone(), self.headers.clone())
    }

    pub fn connections(&self) -> ConnectionServiceClient<Service> {
        ConnectionServiceClient::new(self.service())
    }

    pub fn clients(&self) -> ClientServiceClient<Service> {
        ClientServiceClient::new(self.service())
    }

    pub fn persons(&self) -> PersonServiceClient<Service> {
        PersonServiceClient::new(self.service())
    }

    pub fn contacts(&self) -> ContactServiceClient<Service> {
        ContactServiceClient::new(self.service())
    }

    pub fn history(&self) -> HistoryServiceClient<Service> {
        HistoryServiceClient::new(self.service())
    }

    pub fn support(&self) -> SupportServiceClient<Service> {
        SupportServiceClient::new(self.service())
    }

    pub fn changes(&self) -> ChangeServiceClient<Service> {
        ChangeServiceClient::new(self.service())
    }

    pub fn ingest(&self) -> IngestServiceClient<Service> {
        IngestServiceClient::new(self.service())
    }

    pub fn imports(&self) -> ImportServiceClient<Service> {
        ImportServiceClient::new(self.service())
    }
}

/// Makes this number of calls at the same time, by the callers in turn.
pub async fn at_once<T, F>(
    callers: &[Caller],
    count: usize,
    call: impl Fn(Caller, usize) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls = (0..count).map(|n| tokio::spawn(call(callers[n % callers.len()].clone(), n)));
    let calls = futures::future::join_all(calls).await;
    calls.into_iter().map(Result::unwrap).collect()
}
