//! The layers of the server, as functions of a request and the service below.

use std::{
    convert::Infallible,
    future::ready,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use concord_core::status::ApiError;

/// The result of a call. A failed call has a response too.
pub(crate) type Answer = Result<Response<Body>, Infallible>;

/// A service of HTTP requests. A clone of it serves each call.
pub(crate) trait HttpService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// What a layer above the service `S` does with each call.
pub(crate) trait Middleware<S> {
    type Future: Future<Output = Answer> + Send;

    fn call(&self, request: Request<Body>, next: Next<'_, S>) -> Self::Future;
}

/// The service below a layer, which is ready for one call.
pub(crate) struct Next<'s, S>(&'s mut S);

impl<S: HttpService> Next<'_, S> {
    /// Starts the call now.
    pub(crate) fn call(self, request: Request<Body>) -> S::Future {
        self.0.call(request)
    }

    /// The service, to start the call later.
    pub(crate) fn into_service(self) -> S {
        // The original is ready; the clone may not be.
        let clone = self.0.clone();
        std::mem::replace(self.0, clone)
    }
}

/// The layer of a [`Middleware`].
#[derive(Clone, Debug)]
pub(crate) struct MiddlewareLayer<M>(pub(crate) M);

impl<S, M: Clone> Layer<S> for MiddlewareLayer<M> {
    type Service = MiddlewareService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        MiddlewareService { inner, middleware: self.0.clone() }
    }
}

/// The service of a [`Middleware`] above the service `inner`.
#[derive(Clone, Debug)]
pub(crate) struct MiddlewareService<S, M> {
    inner: S,
    middleware: M,
}

impl<S: HttpService, M: Middleware<S>> Service<Request<Body>> for MiddlewareService<S, M> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = M::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.middleware.call(request, Next(&mut self.inner))
    }
}

/// The response of a call that fails.
pub(crate) fn error_response(error: ApiError) -> Response<Body> {
    Status::from(error).into_http()
}

/// The answer of a call that fails at once.
pub(crate) fn rejected(error: ApiError) -> BoxFuture<'static, Answer> {
    Box::pin(ready(Ok(error_response(error))))
}
