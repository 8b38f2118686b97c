//! Authenticates and authorises each call, and ends its stream when the credential expires.

use futures::future::BoxFuture;
use tonic::body::Body;

use super::{
    expiring,
    middleware::{Answer, HttpService, Middleware, Next, rejected},
    observe,
};
use crate::identity::Credentials;
use concord_proto::rpc::{Rpc, STREAMS, rpc_of_path};

/// Passes the calls of authenticated and authorised callers only. Health and reflection,
/// which are not RPCs of Concord, pass unchecked.
#[derive(Clone, Debug)]
pub(super) struct Authenticate(pub(super) Credentials);

impl<S: HttpService> Middleware<S> for Authenticate {
    type Future = BoxFuture<'static, Answer>;

    fn call(&self, mut request: http::Request<Body>, next: Next<'_, S>) -> Self::Future {
        let Some(rpc) = rpc_of_path(request.uri().path()) else {
            return Box::pin(next.call(request));
        };
        match self.0.authenticate(request.headers(), request.extensions(), rpc) {
            Ok(identity) => {
                observe::record_caller(&identity);
                request.extensions_mut().insert(identity);
                self.call_until_expiry(rpc, request, next)
            }
            Err(error) => rejected(error),
        }
    }
}

impl Authenticate {
    /// Calls the inner service. When the credential expires, a response stream ends with
    /// a status, and a request stream ends with an error in place of the next message. A
    /// request stream whose last message has been read is not affected.
    fn call_until_expiry<S: HttpService>(
        &self,
        rpc: Rpc,
        request: http::Request<Body>,
        next: Next<'_, S>,
    ) -> BoxFuture<'static, Answer> {
        let (answers, uploads) = (STREAMS.contains(&rpc), rpc == Rpc::ImportUploadBatch);
        let end = if answers || uploads { self.0.until_expired(request.headers()) } else { None };
        match end {
            None => Box::pin(next.call(request)),
            Some(end) if uploads => {
                Box::pin(next.call(request.map(|body| expiring::request(body, end))))
            }
            Some(end) => {
                let answer = next.call(request);
                Box::pin(async move { Ok(answer.await?.map(|body| expiring::answer(body, end))) })
            }
        }
    }
}
