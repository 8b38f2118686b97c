//! What support reads, and why: kept before the answer leaves.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Response, Status, body::Body};
use tower::{Layer, Service};

use crate::{
    access::{is_support, rpc_of_path},
    call_id::CallId,
    caller::{Caller, Identity},
    identity::support_reason,
    status::Refusal,
};

/// One call that support makes.
#[derive(Clone, Debug)]
pub struct SupportRead {
    /// Who, in which practice.
    pub caller: Caller,
    /// The call, such as `concord.records.v1.ClientService/GetClient`.
    pub rpc: String,
    /// The ids of the records or imports that the answer shows, the first
    /// [`MAX_RECORDS`] of them; none when the call was refused, or shows none.
    pub record_ids: Vec<String>,
    /// Why, as the caller said.
    pub reason: String,
    /// The id of the call in the logs.
    pub call: CallId,
}

/// Ids that are kept of one call at most.
pub const MAX_RECORDS: usize = 100;

/// The records that an answer shows.
#[derive(Clone, Debug)]
struct RecordsShown(Vec<String>);

/// An answer, with the ids of the records that it shows: they are kept when support has
/// asked.
pub fn reading<T>(answer: T, ids: impl IntoIterator<Item = String>) -> Response<T> {
    let shown = RecordsShown(ids.into_iter().take(MAX_RECORDS).collect());
    let mut response = Response::new(answer);
    response.extensions_mut().insert(shown);
    response
}

/// Where it is kept.
pub trait SupportLog: fmt::Debug + Send + Sync {
    /// Keeps it durably. The answer does not leave when it cannot be kept.
    fn keep(&self, read: SupportRead) -> BoxFuture<'static, Result<(), Refusal>>;
}

/// Puts a [`Keep`] around a service.
#[derive(Clone, Debug)]
pub(super) struct SupportLogLayer(pub(super) Arc<dyn SupportLog>);

impl<S> Layer<S> for SupportLogLayer {
    type Service = Keep<S>;

    fn layer(&self, inner: S) -> Keep<S> {
        Keep { inner, log: Arc::clone(&self.0) }
    }
}

/// A service whose calls by support are kept.
#[derive(Clone, Debug)]
pub(super) struct Keep<S> {
    inner: S,
    log: Arc<dyn SupportLog>,
}

impl<S, R> Service<http::Request<R>> for Keep<S>
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

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let read = match support_read(&request) {
            Ok(Some(read)) => read,
            Ok(None) => return Box::pin(self.inner.call(request)),
            Err(refusal) => return Box::pin(std::future::ready(Ok(refused(refusal)))),
        };
        // The one that is ready; the clone may not be.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let log = Arc::clone(&self.log);
        Box::pin(async move {
            let answer = inner.call(request).await?;
            let shown = answer.extensions().get::<RecordsShown>();
            let record_ids = shown.map(|RecordsShown(ids)| ids.clone()).unwrap_or_default();
            match log.keep(SupportRead { record_ids, ..read }).await {
                Ok(()) => Ok(answer),
                Err(refusal) => Ok(refused(refusal)),
            }
        })
    }
}

fn refused(refusal: Refusal) -> http::Response<Body> {
    Status::from(refusal).into_http()
}

/// What is to be kept of the request; none when it is not made as support. Its records are
/// known with the answer.
fn support_read<R>(request: &http::Request<R>) -> Result<Option<SupportRead>, Refusal> {
    let path = request.uri().path();
    let (Some(rpc), Some(identity)) = (rpc_of_path(path), request.extensions().get::<Identity>())
    else {
        return Ok(None);
    };
    if !is_support(&identity.roles, rpc) {
        return Ok(None);
    }
    let reason = support_reason(request.headers())?;
    // Of one practice, also where others may leave it out.
    let caller = identity.clone().in_practice()?;
    let call = request.extensions().get().cloned().unwrap_or_default();
    let rpc = path.trim_start_matches('/').to_owned();
    Ok(Some(SupportRead { caller, rpc, record_ids: Vec::new(), reason, call }))
}
