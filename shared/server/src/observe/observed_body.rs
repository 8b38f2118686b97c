//! A response body that observes the end of its call: the trailers hold the status code.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;

use super::call::Call;

/// The body of a response, with its call.
#[derive(Debug)]
pub(super) struct ObservedBody {
    body: Body,
    call: Call,
}

impl ObservedBody {
    /// The same response, whose end also ends the call. An error has its code in the
    /// headers, and no body.
    pub(super) fn of(response: http::Response<Body>, mut call: Call) -> http::Response<Body> {
        if end_by(&mut call, response.headers()) {
            return response;
        }
        call.response_starts();
        response.map(|body| Body::new(Self { body, call }))
    }
}

/// Ends the call if the headers or trailers hold a status; `true` if they do.
fn end_by(call: &mut Call, headers: &HeaderMap) -> bool {
    let Some(code) = headers.get("grpc-status") else { return false };
    let code = Code::from_bytes(code.as_bytes());
    let reason = || Some(Status::from_header_map(headers)?.get_details_error_info()?.reason);
    let reason = if code == Code::Ok { None } else { reason() };
    call.end(code, reason.as_deref());
    true
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, call } = &mut *self;
        let frame = ready!(Pin::new(body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    end_by(call, trailers);
                }
            }
            Some(Err(status)) => call.end(status.code(), None),
            // Every gRPC response has trailers.
            None => call.end(Code::Unknown, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
