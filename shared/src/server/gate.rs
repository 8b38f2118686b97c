//! Lets a call in when its caller may make it.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::observe;
use crate::{access::rpc_of_path, identity::Credentials};

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

impl<S, R> Service<http::Request<R>> for Gate<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<R>) -> Self::Future {
        let Some(rpc) = rpc_of_path(request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        match self.credentials.authenticate(request.headers(), request.extensions(), rpc) {
            Ok(identity) => {
                observe::seen(&identity);
                request.extensions_mut().insert(identity);
                Box::pin(self.inner.call(request))
            }
            Err(refusal) => Box::pin(std::future::ready(Ok(Status::from(refusal).into_http()))),
        }
    }
}
