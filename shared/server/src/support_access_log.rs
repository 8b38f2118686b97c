//! The access log of support: each read, with its reason, is stored before the response is
//! sent.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use tonic::{Response, body::Body};

use crate::{
    identity::support_reason,
    middleware::{Answer, HttpService, Middleware, Next, error_response, rejected},
};
use concord_core::{
    access::is_support,
    call_id::CallId,
    caller::{Caller, Identity},
    status::ApiError,
};
use concord_proto::rpc::rpc_of_path;

/// An entry of the support access log: one call.
#[derive(Clone, Debug)]
pub struct SupportAccess {
    /// The caller, in one practice.
    pub caller: Caller,
    /// The RPC, such as `concord.records.v1.ClientService/GetClient`.
    pub rpc: String,
    /// The ids of the records or imports in the response, the first [`MAX_RECORDS`] of
    /// them; empty if the call failed or returned none.
    pub record_ids: Vec<String>,
    /// The reason, as given by the caller.
    pub reason: String,
    /// The id of the call in the logs.
    pub call: CallId,
}

/// The maximum number of ids in an entry.
pub const MAX_RECORDS: usize = 100;

/// The ids of the records in a response.
#[derive(Clone, Debug)]
struct RecordIds(Vec<String>);

/// A response with the ids of its records, which are logged if support has made the call.
pub fn with_record_ids<T>(answer: T, ids: impl IntoIterator<Item = String>) -> Response<T> {
    let shown = RecordIds(ids.into_iter().take(MAX_RECORDS).collect());
    let mut response = Response::new(answer);
    response.extensions_mut().insert(shown);
    response
}

/// The storage of the support access log.
pub trait SupportAccessLog: fmt::Debug + Send + Sync {
    /// Stores an entry durably. If that fails, the caller gets the error and not the
    /// response.
    fn record(&self, access: SupportAccess) -> BoxFuture<'static, Result<(), ApiError>>;
}

/// Logs the calls of support.
#[derive(Clone, Debug)]
pub(super) struct LogSupportAccess(pub(super) Arc<dyn SupportAccessLog>);

impl<S: HttpService> Middleware<S> for LogSupportAccess {
    type Future = BoxFuture<'static, Answer>;

    fn call(&self, request: http::Request<Body>, next: Next<'_, S>) -> Self::Future {
        let access = match support_access(&request) {
            Ok(Some(access)) => access,
            Ok(None) => return Box::pin(next.call(request)),
            Err(error) => return rejected(error),
        };
        let (mut inner, log) = (next.into_service(), Arc::clone(&self.0));
        Box::pin(async move {
            let answer = inner.call(request).await?;
            let shown = answer.extensions().get::<RecordIds>();
            let record_ids = shown.map(|RecordIds(ids)| ids.clone()).unwrap_or_default();
            match log.record(SupportAccess { record_ids, ..access }).await {
                Ok(()) => Ok(answer),
                Err(error) => Ok(error_response(error)),
            }
        })
    }
}

/// The entry of a request, without record ids, which come with the response; `None` if the
/// caller is not support.
fn support_access(request: &http::Request<Body>) -> Result<Option<SupportAccess>, ApiError> {
    let path = request.uri().path();
    let (Some(rpc), Some(identity)) = (rpc_of_path(path), request.extensions().get::<Identity>())
    else {
        return Ok(None);
    };
    if !is_support(&identity.roles, rpc) {
        return Ok(None);
    }
    let reason = support_reason(request.headers())?;
    // Support must name a practice, also where other callers may omit it.
    let caller = identity.clone().in_practice()?;
    let call = request.extensions().get().cloned().unwrap_or_default();
    let rpc = path.trim_start_matches('/').to_owned();
    Ok(Some(SupportAccess { caller, rpc, record_ids: Vec::new(), reason, call }))
}
