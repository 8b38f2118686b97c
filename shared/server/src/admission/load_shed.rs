//! Load shedding: rejects calls before authentication while their tenant has used up its
//! share of the permits and of the queue.
//!
//! A rejection must cost much less than a call, or an overloaded server would be busy with
//! rejections. The tenant is identified by the hash of credentials that were authenticated
//! and rejected a moment ago. Other credentials pass, so that no tenant is rejected because
//! of another one.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Admission, concurrency_limit::overloaded, error_response};
use crate::rejection_log::RejectionLog;
use concord_proto::rpc::rpc_of_path;

/// The layer of [`LoadShed`].
#[derive(Clone, Debug)]
pub(crate) struct LoadShedLayer {
    admission: Arc<Admission>,
    rejections: Arc<RejectionLog>,
}

impl LoadShedLayer {
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        Self { admission, rejections: Arc::new(RejectionLog::new("calls")) }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> LoadShed<S> {
        let Self { admission, rejections } = self.clone();
        LoadShed { inner, admission, rejections }
    }
}

/// A service that sheds the calls of overloaded tenants. Health and reflection pass.
#[derive(Clone, Debug)]
pub(crate) struct LoadShed<S> {
    inner: S,
    admission: Arc<Admission>,
    rejections: Arc<RejectionLog>,
}

impl<S, R> Service<http::Request<R>> for LoadShed<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let Admission { overloaded: tenants, concurrency, .. } = &*self.admission;
        let is_call = rpc_of_path(request.uri().path()).is_some();
        if is_call && tenants.rejects(request.headers(), concurrency) {
            self.rejections.record();
            return Either::Right(ready(Ok(error_response(overloaded()))));
        }
        Either::Left(self.inner.call(request))
    }
}
