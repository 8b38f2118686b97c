//! Turns calls away at once while the server is full.
//!
//! A refusal must cost much less than a call, or refusing is what the server would
//! be busy with. So this comes before credentials are looked at, and writes no line
//! for each call.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Admission, places::overloaded, refused};
use crate::{access::rpc_of_path, server::turned_away::TurnedAway};

/// Puts a [`Door`] before a service.
#[derive(Clone, Debug)]
pub(in crate::server) struct DoorLayer {
    admission: Arc<Admission>,
    turned_away: Arc<TurnedAway>,
}

impl DoorLayer {
    pub(in crate::server) fn new(admission: Arc<Admission>) -> Self {
        Self { admission, turned_away: Arc::new(TurnedAway::new("calls")) }
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        let Self { admission, turned_away } = self.clone();
        Door { inner, admission, turned_away }
    }
}

/// A service that looks whether there is room before anything else. Health and
/// reflection are let through.
#[derive(Clone, Debug)]
pub(in crate::server) struct Door<S> {
    inner: S,
    admission: Arc<Admission>,
    turned_away: Arc<TurnedAway>,
}

impl<S, R> Service<http::Request<R>> for Door<S>
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
        if self.admission.places.are_full() && rpc_of_path(request.uri().path()).is_some() {
            self.turned_away.one_more();
            return Either::Right(ready(Ok(refused(overloaded()))));
        }
        Either::Left(self.inner.call(request))
    }
}
