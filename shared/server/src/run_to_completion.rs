//! Runs each handler to completion in a task of its own, also after its caller has
//! cancelled the call or its deadline has passed.
//!
//! A handler that is dropped halfway could leave a pooled connection inside a transaction
//! (sqlx 0.9.0). A commit takes effect even if no caller waits for the response.

use futures::future::BoxFuture;
use tonic::body::Body;
use tracing::Instrument as _;

use super::{
    admission::CallPermits,
    decode_error,
    middleware::{Answer, HttpService, Middleware, Next, error_response},
};
use concord_core::status::ApiError;

/// Spawns each call as a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunToCompletion;

impl<S: HttpService> Middleware<S> for RunToCompletion {
    type Future = BoxFuture<'static, Answer>;

    fn call(&self, mut request: http::Request<Body>, next: Next<'_, S>) -> Self::Future {
        // A call holds its permits until its handler ends, not until its caller leaves.
        let permits = request.extensions_mut().remove::<CallPermits>();
        let call = next.call(request);
        let task = tokio::spawn(async move { (call.await, permits) }.in_current_span());
        Box::pin(async move {
            let Ok((answer, permits)) = task.await else {
                // The panic hook has logged the panic.
                let panicked = ApiError::internal(&"a handler panicked");
                return Ok(error_response(panicked));
            };
            let answer = decode_error::explained(answer?);
            Ok(match permits {
                Some(permits) => permits.release_for(answer).await,
                None => answer,
            })
        })
    }
}
