//! The observability of each call: one log line with an id that both services share, its
//! metrics, and its span.
//!
//! The span has the level ERROR, so that each log line of the call has its id at any log
//! level.

mod call;
mod observed_body;

use futures::future::BoxFuture;
use tonic::body::Body;
use tracing::{Instrument as _, Span, field};

use crate::{
    meter::Meter,
    middleware::{Answer, HttpService, Middleware, Next},
    telemetry,
};
use call::Call;
use concord_core::{call_id::CallId, caller::Identity};
use concord_proto::rpc::rpc_of_path;
use observed_body::ObservedBody;

/// Observes each call, but for health and reflection, which are not RPCs of Concord.
#[derive(Clone, Debug)]
pub(super) struct Observe(pub(super) Meter);

impl<S: HttpService> Middleware<S> for Observe {
    type Future = BoxFuture<'static, Answer>;

    fn call(&self, mut request: http::Request<Body>, next: Next<'_, S>) -> Self::Future {
        let Some(rpc) = rpc_of_path(request.uri().path()) else {
            return Box::pin(next.call(request));
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
        let call = Call::begin(rpc, &self.0, span.clone());
        let answer = span.in_scope(|| next.call(request));
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
