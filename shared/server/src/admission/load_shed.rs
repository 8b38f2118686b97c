//! Load shedding: rejects calls before authentication while their tenant has used up its
//! share of the permits and of the queue.
//!
//! A rejection must cost much less than a call, or an overloaded server would be busy with
//! rejections. The tenant is identified by the hash of credentials that were authenticated
//! and rejected a moment ago. Other credentials pass, so that no tenant is rejected because
//! of another one.
//!
//! The limits are [`Limits::calls`] and [`Limits::waiting_calls`]. Whether a tenant has used
//! up its share is computed by [`ConcurrencyLimit::is_full_for`], which
//! [`OverloadedTenants::rejects`] asks.
//!
//! [`Limits::calls`]: crate::limits::Limits::calls
//! [`Limits::waiting_calls`]: crate::limits::Limits::waiting_calls
//! [`ConcurrencyLimit::is_full_for`]: super::concurrency_limit::ConcurrencyLimit::is_full_for
//! [`OverloadedTenants::rejects`]: super::overloaded_tenants::OverloadedTenants::rejects

use std::sync::Arc;

use futures::future::{Either, Ready, ready};
use tonic::body::Body;

use super::{Admission, concurrency_limit::overloaded};
use crate::middleware::{Answer, HttpService, Middleware, Next, error_response};
use concord_proto::rpc::rpc_of_path;

/// Sheds the calls of overloaded tenants. Health and reflection pass.
#[derive(Clone, Debug)]
pub(crate) struct LoadShed(pub(crate) Arc<Admission>);

impl<S: HttpService> Middleware<S> for LoadShed {
    // Not boxed: a rejection allocates nothing for its future.
    type Future = Either<S::Future, Ready<Answer>>;

    fn call(&self, request: http::Request<Body>, next: Next<'_, S>) -> Self::Future {
        let Admission { overloaded: tenants, concurrency, rejections, .. } = &*self.0;
        let is_call = rpc_of_path(request.uri().path()).is_some();
        if is_call && tenants.rejects(request.headers(), concurrency) {
            rejections.record();
            return Either::Right(ready(Ok(error_response(overloaded()))));
        }
        Either::Left(next.call(request))
    }
}
