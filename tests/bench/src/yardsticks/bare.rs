//! A tonic server with one RPC and no layers, in this process: the cost of the transport.

use std::{
    convert::Infallible,
    future::Future,
    net::Ipv4Addr,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    body::Body,
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};

/// The RPC of the server, in place of generated code.
pub(crate) trait Call: NamedService + Clone + Send + Sync + 'static {
    /// Handles a request.
    fn handle(
        self,
        request: http::Request<Body>,
    ) -> impl Future<Output = http::Response<Body>> + Send;
}

/// A running server. It is stopped with the value.
#[derive(Debug)]
pub(crate) struct Bare {
    url: String,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Bare {
    /// Starts a server.
    pub(crate) async fn start<C: Call>(call: C) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = Server::builder().add_service(Service(call)).serve_with_incoming(incoming);
        Ok(Self { url, task: tokio::spawn(serving) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug)]
struct Service<C>(C);

impl<C: NamedService> NamedService for Service<C> {
    const NAME: &'static str = C::NAME;
}

impl<C: Call> tower::Service<http::Request<Body>> for Service<C> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = self.0.clone();
        Box::pin(async move { Ok(call.handle(request).await) })
    }
}
