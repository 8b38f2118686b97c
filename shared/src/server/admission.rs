//! Admits the calls that the server has room for, and refuses the others at once,
//! each with the time to wait.
//!
//! A server that takes more calls than it can do answers all of them late, and
//! callers who have given up come again. So a call is refused before any work: when
//! its product makes more of them than it may ([`rate`]), when too many are at work
//! and too many wait ([`places`]), when there are too many streams ([`streams`]).
//! And no caller waits longer than it said ([`deadline`]).
//!
//! [`door`] stands before the gate and does the least: it turns calls away that
//! would find no place, before their credentials are checked.

mod deadline;
pub(super) mod door;
mod places;
mod rate;
mod streams;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::limits::{Limits, MAX_OPEN_UPLOADS};
use crate::{
    access::{Role, Rpc, rpc_of_path},
    caller::Identity,
    status::Refusal,
};
use deadline::Deadline;
use places::Places;
use rate::RequestRate;
use streams::{StreamKey, StreamPlace, Streams};

/// What one server has room for.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    rate: RequestRate,
    places: Places,
    streams: Arc<Streams>,
    uploads: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rate: RequestRate::new(&limits),
            places: Places::new(&limits),
            streams: Arc::new(Streams::new(&limits)),
            uploads: Arc::new(Semaphore::new(MAX_OPEN_UPLOADS)),
        }
    }

    /// Waits for the place of a call that its caller's rate allows.
    async fn place(&self, kind: Kind, deadline: &Deadline) -> Result<Admitted, Refusal> {
        let stream = match kind {
            Kind::Upload => return self.upload(),
            Kind::Stream(key) => Some(self.streams.open(key)?),
            Kind::Call => None,
        };
        let place = self.places.wait(deadline).await?;
        Ok(Admitted { place: Arc::new(place), stream: stream.map(Arc::new) })
    }

    /// The place of an upload, which may go on for as long as its bytes come.
    fn upload(&self) -> Result<Admitted, Refusal> {
        let place = Arc::clone(&self.uploads).try_acquire_owned();
        let place = place.map_err(|_| places::too_many_uploads())?;
        Ok(Admitted { place: Arc::new(place), stream: None })
    }
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
            Rpc::ChangeSubscribe => Self::Stream(StreamKey::Product(identity.product.clone())),
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
    place: Arc<OwnedSemaphorePermit>,
    /// Gone when the stream ends.
    stream: Option<Arc<StreamPlace>>,
}

impl Admitted {
    /// Gives the place of the call back. That of a stream goes on with the answer.
    pub(super) fn answered(self, answer: http::Response<Body>) -> http::Response<Body> {
        drop(self.place);
        match self.stream {
            Some(place) => answer.map(|body| streams::holding(body, place)),
            None => answer,
        }
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

impl<S, R> Service<http::Request<R>> for Admitting<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<R>) -> Self::Future {
        // Before anything else, so that the caller's time has no gap.
        let now = Instant::now();
        let rpc = rpc_of_path(request.uri().path());
        let Some((rpc, identity)) = rpc.zip(request.extensions().get::<Identity>()) else {
            return Box::pin(self.inner.call(request));
        };
        if !identity.roles.contains(&Role::Service)
            && let Err(refusal) = self.admission.rate.check(identity)
        {
            return Box::pin(std::future::ready(Ok(refused(refusal))));
        }
        let kind = Kind::of(rpc, identity);
        let longest = (kind != Kind::Upload).then_some(self.admission.limits.call_time);
        let deadline = Deadline::of(request.headers(), longest, now);
        let admission = Arc::clone(&self.admission);
        // The one that is ready, and another one for the next call.
        let other = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, other);
        Box::pin(async move {
            match admission.place(kind, &deadline).await {
                Ok(admitted) => request.extensions_mut().insert(admitted),
                Err(refusal) => return Ok(refused(refusal)),
            };
            match deadline.limit(inner.call(request)).await {
                Ok(answer) => answer,
                Err(late) => Ok(refused(late)),
            }
        })
    }
}

fn refused(refusal: Refusal) -> http::Response<Body> {
    Status::from(refusal).into_http()
}

#[cfg(test)]
mod tests;
