//! Runs each handler to completion in a task of its own, also after its caller has
//! cancelled the call or its deadline has passed.
//!
//! A handler that is dropped halfway could leave a pooled connection inside a transaction
//! (sqlx 0.9.0). A commit takes effect even if no caller waits for the response.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{admission::CallPermits, decode_error};
use concord_core::status::ApiError;

/// The layer of [`RunToCompletion`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RunToCompletionLayer;

impl<S> Layer<S> for RunToCompletionLayer {
    type Service = RunToCompletion<S>;

    fn layer(&self, inner: S) -> RunToCompletion<S> {
        RunToCompletion { inner }
    }
}

/// A service that spawns each call as a task.
#[derive(Clone, Debug)]
pub(super) struct RunToCompletion<S> {
    inner: S,
}

impl<S, R> Service<http::Request<R>> for RunToCompletion<S>
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
        // A call holds its permits until its handler ends, not until its caller leaves.
        let permits = request.extensions_mut().remove::<CallPermits>();
        let call = self.inner.call(request);
        let task = tokio::spawn(async move { (call.await, permits) }.in_current_span());
        Box::pin(async move {
            let Ok((answer, permits)) = task.await else {
                // The panic hook has logged the panic.
                let panicked = ApiError::internal(&"a handler panicked");
                return Ok(Status::from(panicked).into_http());
            };
            let answer = decode_error::explained(answer?);
            Ok(match permits {
                Some(permits) => permits.release_for(answer).await,
                None => answer,
            })
        })
    }
}
