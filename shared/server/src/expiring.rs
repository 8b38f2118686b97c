//! Request and response bodies that end when the credential of their call expires.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

use concord_core::status::ApiError;

/// The sender of a body.
#[derive(Clone, Copy, Debug)]
enum Side {
    Caller,
    Server,
}

/// A body that ends when `end` completes; the rest of it is dropped.
struct Expiring {
    /// `None` after the end.
    body: Option<Body>,
    end: BoxFuture<'static, ApiError>,
    side: Side,
}

/// A request body, whose reader gets an error if `end` completes before the last message
/// has been read.
pub(super) fn request(body: Body, end: BoxFuture<'static, ApiError>) -> Body {
    Body::new(Expiring { body: Some(body), end, side: Side::Caller })
}

/// A response body, which ends with the status of the error if `end` completes first.
pub(super) fn answer(body: Body, end: BoxFuture<'static, ApiError>) -> Body {
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
        // Polled first, because a body that is always ready would never end.
        if let Poll::Ready(error) = end.as_mut().poll(context) {
            // Dropping the body notifies its writer.
            *body = None;
            let status = Status::from(error);
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
    use concord_proto::pb::records::ErrorReason;

    /// A body that is always ready with a frame.
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

    fn end() -> (oneshot::Sender<()>, BoxFuture<'static, ApiError>) {
        let (sender, expired) = oneshot::channel();
        let error = |_| ApiError::new(Code::Unauthenticated, ErrorReason::TokenExpired, "over");
        (sender, expired.map(error).boxed())
    }

    #[tokio::test]
    async fn endless_response_ends_with_status_at_expiry() {
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
    async fn request_stream_yields_error_at_expiry() {
        let (over, end) = end();
        let mut body = request(Body::new(Endless), end);
        assert!(next(&mut body).await.unwrap().is_ok());
        over.send(()).unwrap();
        let status = next(&mut body).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn body_that_ends_before_expiry_is_unchanged() {
        let (_over, end) = end();
        let mut body = answer(Body::empty(), end);
        assert!(body.is_end_stream() && next(&mut body).await.is_none());
    }
}
