//! The observability of each call: one log line with an id that both services share, its
//! metrics, and its span.
//!
//! The span has the level ERROR, so that each log line of the call has its id at any log
//! level.

mod call;
mod observed_body;

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, field};

use crate::{meter::Meter, telemetry};
use call::Call;
use concord_core::{call_id::CallId, caller::Identity};
use concord_proto::rpc::rpc_of_path;
use observed_body::ObservedBody;

/// The layer of [`Observe`].
#[derive(Clone, Debug)]
pub(super) struct ObserveLayer {
    meter: Meter,
}

impl ObserveLayer {
    pub(super) fn new(meter: Meter) -> Self {
        Self { meter }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, meter: self.meter.clone() }
    }
}

/// A service that observes its calls, but for health and reflection, which are not RPCs of
/// Concord.
#[derive(Clone, Debug)]
pub(super) struct Observe<S> {
    inner: S,
    meter: Meter,
}

impl<S, R> Service<http::Request<R>> for Observe<S>
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
        let id = CallId::given(request.headers());
        let span = tracing::error_span!(
            "call",
            rpc = rpc.name(),
            request_id = %id,
            practice = field::Empty,
            product = field::Empty,
            otel.name = field::Empty,
            otel.kind = field::Empty,
        );
        telemetry::continue_trace(&span, rpc.name(), request.headers());
        request.extensions_mut().insert(id.clone());
        let call = Call::begin(rpc, &self.meter, span.clone());
        let answer = span.in_scope(|| self.inner.call(request));
        let answer = async move {
            // A call that is dropped before its end counts as cancelled.
            let mut response = answer.await?;
            id.answer_with(response.headers_mut());
            Ok(ObservedBody::of(response, call))
        };
        Box::pin(answer.instrument(span))
    }
}

/// Adds the practice and the product to the span of the call; never the user.
pub(super) fn record_caller(identity: &Identity) {
    let span = Span::current();
    if let Some(practice) = &identity.practice {
        span.record("practice", practice.as_str());
    }
    span.record("product", identity.product.as_str());
}
