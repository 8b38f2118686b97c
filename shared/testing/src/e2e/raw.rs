//! Calls any RPC by its path, with undecoded messages.

use std::{future::poll_fn, pin::pin};

use axum::body::HttpBody as _;
use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};
use tower::ServiceExt as _;

use super::caller::Caller;

/// A codec that passes messages through undecoded.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}

/// Sends one message to an RPC, unary or streaming, and waits for the first answer.
/// Returns none if the answer stream is empty.
pub async fn call(
    caller: &Caller,
    path: &'static str,
    message: Bytes,
) -> Result<Option<Bytes>, Status> {
    let mut client = Grpc::new(caller.service());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(tokio_stream::once(message));
    let path = PathAndQuery::from_static(path);
    client.streaming(request, path, Raw).await?.into_inner().message().await
}

/// Sends arbitrary bytes as the body of a call, and waits for its status or for the
/// first bytes of the answer.
pub async fn send(caller: &Caller, path: &str, body: Bytes) -> Result<(), Status> {
    let request = http::Request::post(path).header("content-type", "application/grpc");
    let body = tonic::body::Body::new(axum::body::Body::from(body));
    let request = request.header("te", "trailers").body(body).unwrap();
    let broken = |what: &str| Status::unknown(format!("no answer: {what}"));
    let answer =
        caller.service().oneshot(request).await.map_err(|error| broken(&error.to_string()))?;
    let (head, body) = answer.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return result(status);
    }
    let mut body = pin!(body);
    match poll_fn(|context| body.as_mut().poll_frame(context)).await {
        Some(Ok(frame)) => match frame.into_trailers() {
            Ok(trailers) => {
                result(Status::from_header_map(&trailers).unwrap_or_else(|| broken("no status")))
            }
            Err(_) => Ok(()),
        },
        Some(Err(error)) => Err(broken(&error.to_string())),
        None => Err(broken("the body ended")),
    }
}

fn result(status: Status) -> Result<(), Status> {
    if status.code() == Code::Ok { Ok(()) } else { Err(status) }
}
