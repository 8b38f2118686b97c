//! Admission control: admits the calls that the server has capacity for, and rejects the
//! others at once with a retry delay.
//!
//! Without it an overloaded server responds late to all calls, and callers whose deadline
//! has passed retry. A call is rejected before any work: by the rate limit of its product
//! ([`rate_limit`]), the concurrency limit and its queue ([`concurrency_limit`]), and the
//! limit of open streams ([`streams`]). A call ends at the caller's deadline
//! ([`deadline`]).
//!
//! Tenants share each limit fairly ([`tenant`]). A slow caller holds no permit: the message
//! of a call is read before the call gets its permit ([`message`]), and the response bytes
//! that a caller does not read are bounded in size and time ([`response_buffer`]).
//!
//! [`load_shed`] runs before authentication, and rejects at the lowest cost the calls that
//! would get neither a permit nor a place in the queue.

pub(super) mod concurrency_limit;
mod deadline;
pub(super) mod load_shed;
mod message;
mod overloaded_tenants;
mod rate_limit;
mod response_buffer;
pub(super) mod streams;
mod tenant;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    connections::{StreamContext, StreamDeadline},
    limits::{Limits, MAX_OPEN_UPLOADS, OPEN_UPLOADS_SHARE, RESPONSE_ROOM_TIMEOUT},
};
use crate::{
    meter::{Meter, NONE, catalog},
    middleware::{Answer, HttpService, Middleware, Next, error_response, rejected},
    rejection_log::RejectionLog,
    shares::{Ratio, Share, Shares},
};
use concord_core::{access::Role, caller::Identity, status::ApiError};
use concord_proto::rpc::{Rpc, rpc_of_path};
use concurrency_limit::{ConcurrencyLimit, Permit, RETRY_AFTER, overloaded};
use deadline::Deadline;
use message::MessageReader;
use overloaded_tenants::OverloadedTenants;
use rate_limit::RateLimit;
use response_buffer::{Reader, ResponseBuffers};
use streams::{StreamKey, StreamPermit, Streams};
pub use tenant::Tenant;

/// The limits of one server, and what is in use of them.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    rate: RateLimit,
    concurrency: Arc<ConcurrencyLimit>,
    streams: Arc<Streams>,
    uploads: Arc<Shares<Tenant>>,
    messages: Arc<Shares<Tenant>>,
    responses: Arc<ResponseBuffers>,
    overloaded: OverloadedTenants,
    /// Of load shedding.
    rejections: RejectionLog,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rate: RateLimit::new(&limits),
            concurrency: Arc::new(ConcurrencyLimit::new(&limits)),
            streams: Arc::new(Streams::new(&limits)),
            uploads: Arc::new(Shares::new(MAX_OPEN_UPLOADS, OPEN_UPLOADS_SHARE)),
            messages: Arc::new(Shares::new(limits.message_bytes, Ratio::EQUAL)),
            responses: Arc::new(ResponseBuffers::new(&limits)),
            overloaded: OverloadedTenants::default(),
            rejections: RejectionLog::new("calls"),
        }
    }

    /// Reports the buffered bytes as metrics, and drops the responses that callers do not
    /// read in time, until `stop`.
    pub(super) fn start(self: &Arc<Self>, meter: &Meter, stop: CancellationToken) {
        let admission = Arc::clone(self);
        meter.on_scrape(move |meter| {
            let set = |metric, bytes: u64| {
                // Exact up to 2^53 bytes.
                #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
                meter.gauge(metric, NONE).set(bytes as f64);
            };
            set(&catalog::MESSAGE_BYTES, admission.messages.taken());
            set(&catalog::ANSWER_BYTES, admission.responses.bytes());
        });
        let responses = Arc::clone(&self.responses);
        tokio::spawn(async move { responses.watch(&stop).await });
    }

    /// Reads the message of a call, and acquires its permits. Returns the request body and
    /// the permits.
    async fn admit(
        &self,
        call: &Call,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Body, CallPermits), Status> {
        let Call { tenant, kind, deadline, .. } = call;
        let mut permits = CallPermits {
            permit: None,
            upload: None,
            stream: None,
            responses: Arc::clone(&self.responses),
            reader: Reader { tenant: tenant.clone(), deadline: call.reset.clone() },
        };
        if *kind == Kind::Upload {
            let share = self.uploads.try_take(tenant, 1).ok_or_else(too_many_uploads)?;
            permits.upload = Some(Arc::new(share));
            return Ok((body, permits));
        }
        if self.concurrency.is_full_for(tenant) {
            // Load shedding rejects the next ones before authentication.
            self.overloaded.insert(headers, tenant.clone());
            return Err(overloaded().into());
        }
        if !self.responses.has_room_for(tenant) {
            return Err(response_buffer::too_many().into());
        }
        let share = self.messages.try_take(tenant, message::MIN_BYTES);
        let share = share.ok_or_else(message::too_many)?;
        let time = (call.began, self.limits.message_time);
        let body = MessageReader::new(call.rpc, share, *deadline, time).read(body).await?;
        if let Kind::Stream(key) = kind {
            permits.stream = Some(Arc::new(self.streams.open(key.clone())?));
        }
        let permit = self.concurrency.acquire(tenant, deadline).await?;
        permits.permit = Some(Arc::new(permit));
        Ok((body, permits))
    }
}

/// A call before its admission.
#[derive(Debug)]
struct Call {
    rpc: Rpc,
    tenant: Tenant,
    kind: Kind,
    began: Instant,
    deadline: Deadline,
    /// When the transport resets the stream of the call.
    reset: StreamDeadline,
}

/// The kind of a call, by its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A unary call.
    Call,
    /// A server stream. It holds a permit until the stream is open.
    Stream(StreamKey),
    /// A client stream.
    Upload,
}

impl Kind {
    fn of(rpc: Rpc, identity: &Identity) -> Self {
        match rpc {
            Rpc::ChangeSubscribe => {
                let Identity { product, practice, .. } = identity;
                Self::Stream(StreamKey::Product(product.clone(), practice.clone()))
            }
            Rpc::ImportWatchImport | Rpc::ImportDownloadFailures => {
                Self::Stream(StreamKey::Practice(identity.practice.clone()))
            }
            Rpc::ImportUploadBatch => Self::Upload,
            _ => Self::Call,
        }
    }
}

/// The permits of a call. The task of its handler holds them, so that they outlive a caller
/// who cancels the call.
#[derive(Clone, Debug)]
pub(super) struct CallPermits {
    /// Of a unary call or a server stream, until the response is buffered.
    permit: Option<Arc<Permit>>,
    /// Of an upload, until the response is buffered.
    upload: Option<Arc<Share<Tenant>>>,
    /// Of a server stream, until it ends.
    stream: Option<Arc<StreamPermit>>,
    responses: Arc<ResponseBuffers>,
    reader: Reader,
}

impl CallPermits {
    /// Releases the permit of the call when its response is buffered. The permit of a
    /// stream is released when the stream ends.
    pub(super) async fn release_for(self, answer: http::Response<Body>) -> http::Response<Body> {
        let Self { permit, upload, stream, responses, reader } = self;
        if http_body::Body::is_end_stream(answer.body()) {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let body = match stream {
            Some(stream) => responses.buffer_stream(reader, body, stream),
            None => {
                match timeout(RESPONSE_ROOM_TIMEOUT, responses.buffer_unary(reader, body)).await {
                    Ok(body) => body,
                    Err(_) => return error_response(response_buffer::no_room()),
                }
            }
        };
        drop((permit, upload));
        http::Response::from_parts(head, body)
    }
}

/// Admits calls within the limits of [`Admission`]. Health and reflection, which have no
/// authenticated caller, are always admitted.
#[derive(Clone, Debug)]
pub(super) struct AdmissionControl(pub(super) Arc<Admission>);

impl<S: HttpService> Middleware<S> for AdmissionControl {
    type Future = BoxFuture<'static, Answer>;

    fn call(&self, request: http::Request<Body>, next: Next<'_, S>) -> Self::Future {
        // First, so that the deadline counts from the arrival of the call.
        let began = Instant::now();
        let rpc = rpc_of_path(request.uri().path());
        let Some((rpc, identity)) = rpc.zip(request.extensions().get::<Identity>()) else {
            return Box::pin(next.call(request));
        };
        if !identity.roles.contains(&Role::Service)
            && let Err(error) = self.0.rate.check(identity)
        {
            return rejected(error);
        }
        let (tenant, kind) = (Tenant::of(identity), Kind::of(rpc, identity));
        let longest = (kind != Kind::Upload).then_some(self.0.limits.call_time);
        let deadline = Deadline::of(request.headers(), longest, began);
        let context = request.extensions().get::<StreamContext>();
        let reset = context.map(|context| context.deadline.clone()).unwrap_or_default();
        let call = Call { rpc, tenant, kind, began, deadline, reset };
        let admission = Arc::clone(&self.0);
        let mut inner = next.into_service();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let (body, permits) = match admission.admit(&call, &head.headers, body).await {
                Ok(admitted) => admitted,
                Err(status) => return Ok(status.into_http()),
            };
            let mut request = http::Request::from_parts(head, body);
            request.extensions_mut().insert(permits);
            match call.deadline.limit(inner.call(request)).await {
                Ok(answer) => answer,
                Err(late) => Ok(error_response(late)),
            }
        })
    }
}

fn too_many_uploads() -> ApiError {
    let message = format!(
        "{MAX_OPEN_UPLOADS} uploads are open, or the share of the product in this practice; \
         retry this batch later"
    );
    ApiError::limit_reached("open uploads", message, RETRY_AFTER)
}

#[cfg(test)]
mod tests;
