//! Lets a call in when its caller may make it, and ends a stream when its caller no longer
//! may.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{expiring, observe};
use crate::{
    access::{Rpc, STREAMS, rpc_of_path},
    identity::Credentials,
};

/// Puts a [`Gate`] around a service.
#[derive(Clone, Debug)]
pub(super) struct GateLayer {
    credentials: Arc<Credentials>,
}

impl GateLayer {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials: Arc::new(credentials) }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, credentials: Arc::clone(&self.credentials) }
    }
}

/// A service whose callers are known and allowed. Health and reflection, which
/// are not RPCs of Concord, are for everybody.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    inner: S,
    credentials: Arc<Credentials>,
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let Some(rpc) = rpc_of_path(request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        match self.credentials.authenticate(request.headers(), request.extensions(), rpc) {
            Ok(identity) => {
                observe::seen(&identity);
                request.extensions_mut().insert(identity);
                self.admitted(rpc, request)
            }
            Err(refusal) => Box::pin(std::future::ready(Ok(Status::from(refusal).into_http()))),
        }
    }
}

impl<S> Gate<S> {
    /// Makes the call. Its stream, if it has one, ends with the credential: that of the
    /// answer with a status, and that of an upload with an error before the next message.
    /// An upload that has come to its last message is not concerned.
    fn admitted<F, E>(
        &mut self,
        rpc: Rpc,
        request: http::Request<Body>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, E>>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = E, Future = F>,
        F: Future<Output = Result<http::Response<Body>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let (answers, uploads) = (STREAMS.contains(&rpc), rpc == Rpc::ImportUploadBatch);
        let end =
            if answers || uploads { self.credentials.end_of(request.headers()) } else { None };
        match end {
            None => Box::pin(self.inner.call(request)),
            Some(end) if uploads => {
                let request = request.map(|body| expiring::request(body, end));
                Box::pin(self.inner.call(request))
            }
            Some(end) => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.map(|body| expiring::answer(body, end))) })
            }
        }
    }
}
