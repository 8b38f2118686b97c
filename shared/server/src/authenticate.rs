//! Authenticates and authorises each call, and ends its stream when the credential expires.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{expiring, observe};
use crate::identity::Credentials;
use concord_proto::rpc::{Rpc, STREAMS, rpc_of_path};

/// The layer of [`Authenticate`].
#[derive(Clone, Debug)]
pub(super) struct AuthenticateLayer {
    credentials: Arc<Credentials>,
}

impl AuthenticateLayer {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials: Arc::new(credentials) }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate { inner, credentials: Arc::clone(&self.credentials) }
    }
}

/// A service that serves authenticated and authorised callers only. Health and reflection,
/// which are not RPCs of Concord, pass unchecked.
#[derive(Clone, Debug)]
pub(super) struct Authenticate<S> {
    inner: S,
    credentials: Arc<Credentials>,
}

impl<S> Service<http::Request<Body>> for Authenticate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let Some(rpc) = rpc_of_path(request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        match self.credentials.authenticate(request.headers(), request.extensions(), rpc) {
            Ok(identity) => {
                observe::record_caller(&identity);
                request.extensions_mut().insert(identity);
                self.call_until_expiry(rpc, request)
            }
            Err(error) => Box::pin(std::future::ready(Ok(Status::from(error).into_http()))),
        }
    }
}

impl<S> Authenticate<S> {
    /// Calls the inner service. When the credential expires, a response stream ends with
    /// a status, and a request stream ends with an error in place of the next message. A
    /// request stream whose last message has been read is not affected.
    fn call_until_expiry<F, E>(
        &mut self,
        rpc: Rpc,
        request: http::Request<Body>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, E>>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = E, Future = F>,
        F: Future<Output = Result<http::Response<Body>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let (answers, uploads) = (STREAMS.contains(&rpc), rpc == Rpc::ImportUploadBatch);
        let end = if answers || uploads {
            self.credentials.until_expired(request.headers())
        } else {
            None
        };
        match end {
            None => Box::pin(self.inner.call(request)),
            Some(end) if uploads => {
                let request = request.map(|body| expiring::request(body, end));
                Box::pin(self.inner.call(request))
            }
            Some(end) => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.map(|body| expiring::answer(body, end))) })
            }
        }
    }
}
