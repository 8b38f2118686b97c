//! Bodies that end with the credential of their call.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::status::Refusal;

/// Which end of a call a body is sent from.
#[derive(Clone, Copy, Debug)]
enum Side {
    Caller,
    Server,
}

/// A body, until `end` comes: then nothing of it is sent or read any more.
struct Expiring {
    /// None when it has ended.
    body: Option<Body>,
    end: BoxFuture<'static, Refusal>,
    side: Side,
}

/// What a caller sends; whoever reads it has an error when `end` comes before the last
/// message was read.
pub(super) fn request(body: Body, end: BoxFuture<'static, Refusal>) -> Body {
    Body::new(Expiring { body: Some(body), end, side: Side::Caller })
}

/// An answer, which ends with the status of the refusal when `end` comes first.
pub(super) fn answer(body: Body, end: BoxFuture<'static, Refusal>) -> Body {
    Body::new(Expiring { body: Some(body), end, side: Side::Server })
}

impl http_body::Body for Expiring {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, end, side } = &mut *self;
        let Some(open) = body else { return Poll::Ready(None) };
        // First, or a body that always has more would never end.
        if let Poll::Ready(refusal) = end.as_mut().poll(context) {
            // Whoever writes the body learns of it.
            *body = None;
            let status = Status::from(refusal);
            return Poll::Ready(Some(match side {
                Side::Caller => Err(status),
                Side::Server => trailers(&status).map(Frame::trailers),
            }));
        }
        Pin::new(open).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, http_body::Body::size_hint)
    }
}

fn trailers(status: &Status) -> Result<HeaderMap, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt as _;
    use http_body::Body as _;
    use tokio::sync::oneshot;
    use tonic::Code;

    use super::*;
    use crate::pb::records::ErrorReason;

    /// A body that has a frame whenever it is asked.
    struct Endless;

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"more")))))
        }
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    fn end() -> (oneshot::Sender<()>, BoxFuture<'static, Refusal>) {
        let (sender, comes) = oneshot::channel();
        let refusal = |_| Refusal::new(Code::Unauthenticated, ErrorReason::TokenExpired, "over");
        (sender, comes.map(refusal).boxed())
    }

    #[tokio::test]
    async fn an_endless_answer_ends_with_the_status_of_the_credential() {
        let (over, end) = end();
        let mut body = answer(Body::new(Endless), end);
        for _ in 0..3 {
            assert!(next(&mut body).await.unwrap().unwrap().is_data());
        }
        over.send(()).unwrap();
        let trailers = next(&mut body).await.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "over"));
        assert!(next(&mut body).await.is_none() && body.is_end_stream());
    }

    #[tokio::test]
    async fn an_upload_has_an_error_in_place_of_its_next_message() {
        let (over, end) = end();
        let mut body = request(Body::new(Endless), end);
        assert!(next(&mut body).await.unwrap().is_ok());
        over.send(()).unwrap();
        let status = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_body_that_ends_by_itself_stays_as_it_is() {
        let (_over, end) = end();
        let mut body = answer(Body::empty(), end);
        assert!(body.is_end_stream() && next(&mut body).await.is_none());
    }
}
