//! A bare tonic server that streams messages from memory: the cost of the transport.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use concord_proto::pb::records::{SubscribeRequest, SubscribeResponse};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService},
};
use tonic_prost::ProstCodec;

use super::bare::{Bare, Call};

/// Starts a server that repeats these messages on every stream.
pub(crate) async fn start(messages: Vec<SubscribeResponse>) -> anyhow::Result<Bare> {
    Bare::start(Streamer(messages.into())).await
}

#[derive(Clone, Debug)]
struct Streamer(Arc<[SubscribeResponse]>);

impl NamedService for Streamer {
    const NAME: &'static str = "concord.records.v1.ChangeService";
}

impl Call for Streamer {
    async fn handle(self, request: http::Request<Body>) -> http::Response<Body> {
        Grpc::new(ProstCodec::default()).server_streaming(self, request).await
    }
}

impl ServerStreamingService<SubscribeRequest> for Streamer {
    type Response = SubscribeResponse;
    type ResponseStream = BoxStream<'static, Result<SubscribeResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<SubscribeRequest>) -> Self::Future {
        let messages = Arc::clone(&self.0);
        let message = move |number: usize| {
            // A copy, because a real server builds each message.
            messages.get(number % messages.len().max(1)).cloned().map(Ok)
        };
        let sent = stream::iter((0..).map_while(message));
        ready(Ok(Response::new(sent.boxed())))
    }
}
