//! A bare tonic server that responds to `GetClient` from memory: the cost of the transport.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use concord_proto::pb::records::{GetClientRequest, GetClientResponse};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::bare::{Bare, Call};

/// Starts a server with a constant response.
pub(crate) async fn start(response: GetClientResponse) -> anyhow::Result<Bare> {
    Bare::start(Echo(Arc::new(response))).await
}

#[derive(Clone, Debug)]
struct Echo(Arc<GetClientResponse>);

impl NamedService for Echo {
    const NAME: &'static str = "concord.records.v1.ClientService";
}

impl Call for Echo {
    async fn handle(self, request: http::Request<Body>) -> http::Response<Body> {
        Grpc::new(ProstCodec::default()).unary(self, request).await
    }
}

impl UnaryService<GetClientRequest> for Echo {
    type Response = GetClientResponse;
    type Future = Ready<Result<Response<GetClientResponse>, Status>>;

    fn call(&mut self, _: Request<GetClientRequest>) -> Self::Future {
        ready(Ok(Response::new((*self.0).clone())))
    }
}
