//! Lets a call in when its caller may make it, and writes one log line for it.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures::future::BoxFuture;
use http::HeaderMap;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

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
        let started = Instant::now();
        let practice =
            match self.credentials.authenticate(request.headers(), request.extensions(), rpc) {
                Ok(identity) => {
                    let practice = identity.practice.clone();
                    request.extensions_mut().insert(identity);
                    practice
                }
                Err(refusal) => {
                    tracing::info!(?rpc, reason = ?refusal.reason(), "call refused");
                    return Box::pin(std::future::ready(Ok(Status::from(refusal).into_http())));
                }
            };
        let call = self.inner.call(request);
        Box::pin(async move {
            let response = call.await?;
            let (elapsed_us, code) = (started.elapsed().as_micros(), code(response.headers()));
            let practice = practice.as_ref().map_or("", |practice| practice.as_str());
            tracing::info!(?rpc, practice, ?code, elapsed_us, "call");
            Ok(response)
        })
    }
}

/// The status in the headers; a stream that has begun has none there yet.
fn code(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}
