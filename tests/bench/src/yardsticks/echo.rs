//! A bare tonic server that answers `GetClient` from memory: what the transport
//! costs, and nothing else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::Ipv4Addr,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use shared::pb::records::{GetClientRequest, GetClientResponse};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// A running server; stopped with the value.
#[derive(Debug)]
pub(crate) struct Echo {
    url: String,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Echo {
    /// Starts a server that gives this answer to every call.
    pub(crate) async fn start(answer: GetClientResponse) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let answering = Server::builder()
            .add_service(Answering(Arc::new(answer)))
            .serve_with_incoming(incoming);
        Ok(Self { url, task: tokio::spawn(answering) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the generated code would be for a service with this one call.
#[derive(Clone, Debug)]
struct Answering(Arc<GetClientResponse>);

impl NamedService for Answering {
    const NAME: &'static str = "concord.records.v1.ClientService";
}

impl tower::Service<http::Request<Body>> for Answering {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answering = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(answering, request).await)
        })
    }
}

impl UnaryService<GetClientRequest> for Answering {
    type Response = GetClientResponse;
    type Future = Ready<Result<Response<GetClientResponse>, Status>>;

    fn call(&mut self, _: Request<GetClientRequest>) -> Self::Future {
        ready(Ok(Response::new((*self.0).clone())))
    }
}
