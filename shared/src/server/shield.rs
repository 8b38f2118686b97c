//! Runs every handler to its end, whatever becomes of its caller.
//!
//! A handler that is dropped in the middle, because its caller went away or its
//! time ran out, could leave a pooled connection inside a transaction (sqlx
//! 0.9.0), and a commit whose answer nobody waits for is still a commit.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{admission::Admitted, unread};
use crate::status::Refusal;

/// Puts a [`Shield`] around a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShieldLayer;

impl<S> Layer<S> for ShieldLayer {
    type Service = Shield<S>;

    fn layer(&self, inner: S) -> Shield<S> {
        Shield { inner }
    }
}

/// A service whose calls run in tasks of their own.
#[derive(Clone, Debug)]
pub(super) struct Shield<S> {
    inner: S,
}

impl<S, R> Service<http::Request<R>> for Shield<S>
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
        // A call has its place for as long as it is at work, whoever waits for it.
        let admitted = request.extensions_mut().remove::<Admitted>();
        let call = self.inner.call(request);
        let task = tokio::spawn(async move { (call.await, admitted) }.in_current_span());
        Box::pin(async move {
            let Ok((answer, admitted)) = task.await else {
                // The log has the panic itself.
                let panicked = Refusal::internal(&"a handler panicked");
                return Ok(Status::from(panicked).into_http());
            };
            let answer = unread::explained(answer?);
            // The answer is for whoever waits for it, and nobody else holds it.
            Ok(match admitted {
                Some(admitted) => admitted.answered(answer).await,
                None => answer,
            })
        })
    }
}
