//! An HTTP/2 client with control over flow control: tests send and read as slowly as
//! they need.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{
    SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use prost::Message;
use tokio::net::TcpStream;

/// A connection with a given flow-control window for each stream.
pub struct Http2 {
    send: SendRequest<Bytes>,
    url: String,
}

/// A call in progress.
pub struct Call {
    pub answer: ResponseFuture,
    /// The request body. Dropping it before its end resets the stream.
    pub message: SendStream<Bytes>,
}

impl Http2 {
    pub async fn connect(url: &str, window: u32) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        let connection = TcpStream::connect(address).await.unwrap();
        let mut builder = Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(64 * 1_024 * 1_024);
        let (send, connection) = builder.handshake(connection).await.unwrap();
        tokio::spawn(connection);
        Self { send, url: url.to_owned() }
    }

    /// Starts a call of a product for a practice, without its message.
    pub async fn begin(&mut self, path: &str, practice: &str, product: &str) -> Call {
        let request = http::Request::post(format!("{}/{path}", self.url))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-concord-practice", practice)
            .header("x-concord-product", product)
            .header("x-concord-roles", "owner");
        self.send = self.send.clone().ready().await.unwrap();
        let (answer, message) = self.send.send_request(request.body(()).unwrap(), false).unwrap();
        Call { answer, message }
    }

    /// Makes a call with its message.
    pub async fn call(
        &mut self,
        path: &str,
        (practice, product): (&str, &str),
        message: &impl Message,
    ) -> Call {
        let mut call = self.begin(path, practice, product).await;
        call.message.send_data(frame(message), true).unwrap();
        call
    }
}

/// A message with its gRPC frame header.
pub fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.encoded_len().try_into().unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

/// Reads an answer to its end. Returns its size in bytes and the status of its
/// trailers.
pub async fn read_to_end(answer: ResponseFuture) -> (usize, String) {
    let answer = answer.await.unwrap();
    if let Some(status) = answer.headers().get("grpc-status") {
        return (0, status.to_str().unwrap().to_owned());
    }
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        read += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap();
    (read, trailers["grpc-status"].to_str().unwrap().to_owned())
}
