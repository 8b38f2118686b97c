//! A bare tonic server that answers `GetClient` from memory: what the transport
//! costs, and nothing else.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use shared::pb::records::{GetClientRequest, GetClientResponse};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::bare::{Bare, Call};

/// Starts a server that gives this answer to every call.
pub(crate) async fn start(answer: GetClientResponse) -> anyhow::Result<Bare> {
    Bare::start(Answering(Arc::new(answer))).await
}

#[derive(Clone, Debug)]
struct Answering(Arc<GetClientResponse>);

impl NamedService for Answering {
    const NAME: &'static str = "concord.records.v1.ClientService";
}

impl Call for Answering {
    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        Grpc::new(ProstCodec::default()).unary(self, request).await
    }
}

impl UnaryService<GetClientRequest> for Answering {
    type Response = GetClientResponse;
    type Future = Ready<Result<Response<GetClientResponse>, Status>>;

    fn call(&mut self, _: Request<GetClientRequest>) -> Self::Future {
        ready(Ok(Response::new((*self.0).clone())))
    }
}
