//! Admits the calls that the server has room for, and refuses the others at once,
//! each with the time to wait.
//!
//! A server that takes more calls than it can do answers all of them late, and
//! callers who have given up come again. So a call is refused before any work: when
//! its product makes more of them than it may ([`rate`]), when too many are at work
//! and too many wait ([`places`]), when there are too many streams ([`streams`]).
//! And no caller waits longer than it said ([`deadline`]).
//!
//! Each of these is shared fairly: one [`tenant`] leaves some to the others. A caller
//! holds nothing by being slow: the message of a call is read before the call has a
//! place ([`message`]), and what waits for a caller who does not read is bounded in
//! bytes and time ([`answers`]).
//!
//! [`door`] stands before the gate and does the least: it turns calls away that
//! would find no place, before their credentials are checked.

mod answers;
mod deadline;
pub(super) mod door;
mod message;
pub(super) mod places;
mod rate;
pub(super) mod streams;
mod tenant;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    connections::{StreamContext, StreamDeadline},
    limits::{Limits, MAX_OPEN_UPLOADS, OPEN_UPLOADS_SHARE, ROOM_TIME},
};
use crate::{
    access::{Role, Rpc, rpc_of_path},
    caller::Identity,
    meter::{Meter, NONE, catalog},
    shares::{Ratio, Share, Shares},
    status::Refusal,
};
use answers::{Answers, Reader};
use deadline::Deadline;
use door::Known;
use message::Reading;
use places::{COME_AGAIN, Place, Places, overloaded};
use rate::RequestRate;
use streams::{StreamKey, StreamPlace, Streams};
use tenant::Tenant;

/// What one server has room for.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    rate: RequestRate,
    places: Arc<Places>,
    streams: Arc<Streams>,
    uploads: Arc<Shares<Tenant>>,
    messages: Arc<Shares<Tenant>>,
    answers: Arc<Answers>,
    known: Known,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rate: RequestRate::new(&limits),
            places: Arc::new(Places::new(&limits)),
            streams: Arc::new(Streams::new(&limits)),
            uploads: Arc::new(Shares::new(MAX_OPEN_UPLOADS, OPEN_UPLOADS_SHARE)),
            messages: Arc::new(Shares::new(limits.message_bytes, Ratio::EQUAL)),
            answers: Arc::new(Answers::new(&limits)),
            known: Known::default(),
        }
    }

    /// Shows what is held for callers, and drops what they do not read, until `stop`.
    pub(super) fn start(self: &Arc<Self>, meter: &Meter, stop: CancellationToken) {
        let admission = Arc::clone(self);
        meter.at_each_reading(move |meter| {
            let show = |metric, bytes: u64| {
                // Exact up to 2^53 bytes.
                #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
                meter.gauge(metric, NONE).set(bytes as f64);
            };
            show(&catalog::MESSAGE_BYTES, admission.messages.taken());
            show(&catalog::ANSWER_BYTES, admission.answers.bytes());
        });
        let answers = Arc::clone(&self.answers);
        tokio::spawn(async move { answers.watch(&stop).await });
    }

    /// Takes what a call needs, once its message has arrived: the rest of the request,
    /// and the place.
    async fn admit(
        &self,
        call: &Call,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Body, Admitted), Status> {
        let Call { tenant, kind, deadline, .. } = call;
        let mut admitted = Admitted {
            place: None,
            upload: None,
            stream: None,
            answers: Arc::clone(&self.answers),
            reader: Reader { tenant: tenant.clone(), deadline: call.reset.clone() },
        };
        if *kind == Kind::Upload {
            let place = self.uploads.try_take(tenant, 1).ok_or_else(too_many_uploads)?;
            admitted.upload = Some(Arc::new(place));
            return Ok((body, admitted));
        }
        if self.places.are_full_for(tenant) {
            // The next ones are refused before their credentials are checked.
            self.known.keep(headers, tenant.clone());
            return Err(overloaded().into());
        }
        if !self.answers.has_room_for(tenant) {
            return Err(answers::too_many().into());
        }
        let share = self.messages.try_take(tenant, message::LEAST_BYTES);
        let share = share.ok_or_else(message::too_many)?;
        let time = (call.began, self.limits.message_time);
        let body = Reading::new(call.rpc, share, *deadline, time).read(body).await?;
        if let Kind::Stream(key) = kind {
            admitted.stream = Some(Arc::new(self.streams.open(key.clone())?));
        }
        let place = self.places.wait(tenant, deadline).await?;
        admitted.place = Some(Arc::new(place));
        Ok((body, admitted))
    }
}

/// A call that asks to be admitted.
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

/// What a call takes a place of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A question with one answer.
    Call,
    /// A stream of answers: it is at work until it is open.
    Stream(StreamKey),
    /// A stream of the caller's.
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

/// The places that a call has. They are the task's that does its work, and not the
/// caller's, who may go away meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    /// Gone when the call is answered.
    place: Option<Arc<Place>>,
    /// Of an upload; gone likewise.
    upload: Option<Arc<Share<Tenant>>>,
    /// Gone when the stream ends.
    stream: Option<Arc<StreamPlace>>,
    answers: Arc<Answers>,
    reader: Reader,
}

impl Admitted {
    /// Gives the place of the call back once there is room for its answer. That of a
    /// stream goes on with the answer.
    pub(super) async fn answered(self, answer: http::Response<Body>) -> http::Response<Body> {
        let Self { place, upload, stream, answers, reader } = self;
        if http_body::Body::is_end_stream(answer.body()) {
            return answer;
        }
        let (head, body) = answer.into_parts();
        let body = match stream {
            Some(stream) => answers.of_stream(reader, body, stream),
            None => match timeout(ROOM_TIME, answers.of_call(reader, body)).await {
                Ok(body) => body,
                Err(_) => return refused(answers::no_room()),
            },
        };
        drop((place, upload));
        http::Response::from_parts(head, body)
    }
}

/// Puts an [`Admitting`] around a service.
#[derive(Clone, Debug)]
pub(super) struct AdmissionLayer {
    admission: Arc<Admission>,
}

impl AdmissionLayer {
    pub(super) fn new(admission: Arc<Admission>) -> Self {
        Self { admission }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admitting<S>;

    fn layer(&self, inner: S) -> Admitting<S> {
        Admitting { inner, admission: Arc::clone(&self.admission) }
    }
}

/// A service that does no more at once than it can. Health and reflection, which
/// have no caller, are always answered.
#[derive(Clone, Debug)]
pub(super) struct Admitting<S> {
    inner: S,
    admission: Arc<Admission>,
}

impl<S> Service<http::Request<Body>> for Admitting<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // Before anything else, so that the caller's time has no gap.
        let began = Instant::now();
        let rpc = rpc_of_path(request.uri().path());
        let Some((rpc, identity)) = rpc.zip(request.extensions().get::<Identity>()) else {
            return Box::pin(self.inner.call(request));
        };
        if !identity.roles.contains(&Role::Service)
            && let Err(refusal) = self.admission.rate.check(identity)
        {
            return Box::pin(std::future::ready(Ok(refused(refusal))));
        }
        let (tenant, kind) = (Tenant::of(identity), Kind::of(rpc, identity));
        let longest = (kind != Kind::Upload).then_some(self.admission.limits.call_time);
        let deadline = Deadline::of(request.headers(), longest, began);
        let context = request.extensions().get::<StreamContext>();
        let reset = context.map(|context| context.deadline.clone()).unwrap_or_default();
        let call = Call { rpc, tenant, kind, began, deadline, reset };
        let admission = Arc::clone(&self.admission);
        // The one that is ready, and another one for the next call.
        let other = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, other);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let (body, admitted) = match admission.admit(&call, &head.headers, body).await {
                Ok(admitted) => admitted,
                Err(status) => return Ok(status.into_http()),
            };
            let mut request = http::Request::from_parts(head, body);
            request.extensions_mut().insert(admitted);
            match call.deadline.limit(inner.call(request)).await {
                Ok(answer) => answer,
                Err(late) => Ok(refused(late)),
            }
        })
    }
}

fn too_many_uploads() -> Refusal {
    let message = format!(
        "{MAX_OPEN_UPLOADS} uploads are open, or the share of the product in this practice; \
         send this batch again in a moment"
    );
    Refusal::limit_reached("open uploads", message, COME_AGAIN)
}

fn refused(refusal: Refusal) -> http::Response<Body> {
    Status::from(refusal).into_http()
}

#[cfg(test)]
mod tests;
