//! A bare tonic server that streams messages from memory: what the transport
//! costs, and nothing else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::Ipv4Addr,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use shared::pb::records::{SubscribeRequest, SubscribeResponse};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// A running server; stopped with the value.
#[derive(Debug)]
pub(crate) struct Streaming {
    url: String,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Streaming {
    /// Starts a server that sends these messages over and over, to everyone who
    /// subscribes.
    pub(crate) async fn start(messages: Vec<SubscribeResponse>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let sending =
            Server::builder().add_service(Sending(messages.into())).serve_with_incoming(incoming);
        Ok(Self { url, task: tokio::spawn(sending) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the generated code would be for a service with this one call.
#[derive(Clone, Debug)]
struct Sending(Arc<[SubscribeResponse]>);

impl NamedService for Sending {
    const NAME: &'static str = "concord.records.v1.ChangeService";
}

impl tower::Service<http::Request<Body>> for Sending {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sending = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(sending, request).await)
        })
    }
}

impl ServerStreamingService<SubscribeRequest> for Sending {
    type Response = SubscribeResponse;
    type ResponseStream = BoxStream<'static, Result<SubscribeResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<SubscribeRequest>) -> Self::Future {
        let messages = Arc::clone(&self.0);
        let message = move |number: usize| {
            // A copy, as a server makes that has to build each of them.
            messages.get(number % messages.len().max(1)).cloned().map(Ok)
        };
        let sent = stream::iter((0..).map_while(message));
        ready(Ok(Response::new(sent.boxed())))
    }
}
