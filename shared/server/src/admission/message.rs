//! Reads the request message of a call before the call gets a permit to run.
//!
//! A handler runs to completion, so that a handler that reads from a slow caller would hold
//! its permit without a bound. The bytes of all messages that are being read are bounded,
//! and shared by tenants. Each message has a timeout, which grows with its length. It
//! counts from the start of the call, and further bytes do not extend it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body};

use super::{
    concurrency_limit::RETRY_AFTER,
    deadline::{Deadline, message_late},
    tenant::Tenant,
};
use crate::{
    limits::{MAX_MESSAGE_BYTES, MAX_SERVICE_MESSAGE_BYTES, MESSAGE_BYTES_PER_SECOND},
    shares::Share,
};
use concord_core::{
    access::{Role, rule},
    status::ApiError,
};
use concord_proto::{pb::records::ErrorReason, rpc::Rpc};

/// The length of the gRPC message prefix: a flag, and the length of the message.
const PREFIX: usize = 5;

/// The minimum number of bytes that a call counts while its message is read: its overhead.
pub(super) const MIN_BYTES: u64 = 4 * 1_024;

/// The maximum length of a message. A longer one is passed to the service, which rejects
/// it.
fn limit(rpc: Rpc) -> usize {
    let is_internal = rule(rpc).roles.iter().all(|role| *role == Role::Service);
    if is_internal { MAX_SERVICE_MESSAGE_BYTES } else { MAX_MESSAGE_BYTES }
}

/// Reads one request message.
#[derive(Debug)]
pub(super) struct MessageReader {
    rpc: Rpc,
    share: Share<Tenant>,
    deadline: Deadline,
    began: Instant,
    /// The timeout of an empty message.
    time: Duration,
    /// The length of the message with its prefix, once it is known.
    length: Option<usize>,
    /// The bytes, if they arrived in one frame.
    first: Bytes,
    /// The bytes, if they arrived in several frames.
    whole: BytesMut,
}

impl MessageReader {
    pub(super) fn new(
        rpc: Rpc,
        share: Share<Tenant>,
        deadline: Deadline,
        (began, time): (Instant, Duration),
    ) -> Self {
        let (first, whole) = (Bytes::new(), BytesMut::new());
        Self { rpc, share, deadline, began, time, length: None, first, whole }
    }

    /// Reads the message, and returns a body that holds it. A malformed message is passed
    /// to the service, which rejects it.
    ///
    /// # Errors
    ///
    /// If the message does not arrive in time, exceeds the share of the tenant, is followed
    /// by a second one, or the caller cancels the call.
    pub(super) async fn read(mut self, mut body: Body) -> Result<Body, Status> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            let Ok(frame) = timeout_at(self.until(), frame).await else {
                return Err(message_late().into());
            };
            let Some(data) = frame.transpose()?.map(Frame::into_data) else { break };
            // Trailers of a request are ignored.
            let Ok(data) = data else { break };
            self.append(data);
            if self.length.is_none() && !self.read_length()? {
                return Ok(self.finish(Some(body)));
            }
            if self.length.is_some_and(|length| self.arrived().len() > length) {
                return Err(more_than_one().into());
            }
        }
        Ok(self.finish(None))
    }

    fn until(&self) -> Instant {
        let bytes = u32::try_from(self.length.unwrap_or_default()).unwrap_or(u32::MAX);
        let more = Duration::from_secs(1) * bytes / MESSAGE_BYTES_PER_SECOND;
        self.deadline.or_earlier(self.began + self.time + more)
    }

    fn arrived(&self) -> &[u8] {
        if self.whole.is_empty() { &self.first } else { &self.whole }
    }

    fn append(&mut self, data: Bytes) {
        if self.arrived().is_empty() {
            self.first = data;
            return;
        }
        // Joined, because small frames would take many times their length.
        if self.whole.is_empty() {
            self.whole.reserve(self.length.unwrap_or_default());
            self.whole.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.whole.extend_from_slice(&data);
    }

    /// Reads the length from the prefix, once that has arrived. Returns `false` if the
    /// message exceeds the limit of the service.
    fn read_length(&mut self) -> Result<bool, ApiError> {
        let Some([_, length @ ..]) = self.arrived().first_chunk::<PREFIX>() else {
            return Ok(true);
        };
        let bytes = u32::from_be_bytes(*length);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if length > limit(self.rpc) {
            return Ok(false);
        }
        if !self.share.grow_to(u64::from(bytes) + MIN_BYTES) {
            return Err(too_many());
        }
        self.length = Some(length + PREFIX);
        Ok(true)
    }

    fn finish(self, rest: Option<Body>) -> Body {
        let message = if self.whole.is_empty() { self.first } else { self.whole.freeze() };
        let message = Some(message).filter(|message| !message.is_empty());
        Body::new(Read { message, rest, _share: self.share })
    }
}

/// The error of a call that exceeds its tenant's share of the message bytes.
pub(super) fn too_many() -> ApiError {
    let message = "the request messages of the product in this practice have too many bytes; \
                   the call was not started: retry it later";
    ApiError::limit_reached("messages", message, RETRY_AFTER)
}

fn more_than_one() -> ApiError {
    let message = "the call takes one message, and received more than one";
    ApiError::new(Code::InvalidArgument, ErrorReason::UnreadableMessage, message)
}

/// A body that has been read. It holds its share until the handler drops it.
struct Read {
    message: Option<Bytes>,
    rest: Option<Body>,
    _share: Share<Tenant>,
}

impl http_body::Body for Read {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        match &mut self.rest {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.rest.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{
        admission::tests::identity,
        shares::{Ratio, Shares},
    };

    /// A body of frames, each after a delay in milliseconds. After the last one it ends, or
    /// stays pending.
    fn body(parts: Vec<(u64, Vec<u8>)>, ends: bool) -> Body {
        let (mut parts, mut pause) = (parts.into_iter().peekable(), None);
        Body::new(Parts(Box::new(move |context: &mut Context<'_>| {
            let Some((time, _)) = parts.peek() else {
                return if ends { Poll::Ready(None) } else { Poll::Pending };
            };
            if *time > 0 {
                let time = Duration::from_millis(*time);
                let delay = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
                std::task::ready!(delay.as_mut().poll(context));
                pause = None;
            }
            Poll::Ready(parts.next().map(|(_, bytes)| bytes.into()))
        })))
    }

    type Next = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Bytes>> + Send>;

    struct Parts(Next);

    impl http_body::Body for Parts {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            (self.0)(context).map(|data| data.map(|data| Ok(Frame::data(data))))
        }
    }

    fn message(length: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(length).unwrap().to_be_bytes());
        message.extend(vec![7; length]);
        message
    }

    const ROOM: u64 = 1_024 * 1_024;

    async fn read(body: Body, time: u64) -> (Result<Vec<u8>, Status>, Arc<Shares<Tenant>>) {
        let shares = Arc::new(Shares::new(ROOM, Ratio::EQUAL));
        let tenant = Tenant::of(&identity("p1", "books"));
        let share = shares.try_take(&tenant, MIN_BYTES).unwrap();
        let now = Instant::now();
        let deadline = Deadline::of(&HeaderMap::new(), None, now);
        let time = Duration::from_millis(time);
        let reader = MessageReader::new(Rpc::ClientGetClient, share, deadline, (now, time));
        let read = match reader.read(body).await {
            Ok(mut body) => {
                let mut bytes = Vec::new();
                let mut next =
                    async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
                while let Some(frame) = next().await {
                    bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
                }
                Ok(bytes)
            }
            Err(status) => Err(status),
        };
        (read, shares)
    }

    fn reason(status: &Status) -> (Code, String) {
        let reason = status.get_details_error_info().unwrap().reason;
        (status.code(), reason)
    }

    #[tokio::test]
    async fn message_is_passed_on_unchanged() {
        for size in [0, 1, 5_000] {
            let message = message(size);
            let at_once = body(vec![(0, message.clone())], true);
            let in_parts = message.chunks(3).map(|part| (0, part.to_vec())).collect();
            for body in [at_once, body(in_parts, true)] {
                let (read, shares) = read(body, 10_000).await;
                assert_eq!(read.unwrap(), message);
                assert_eq!(shares.taken(), 0);
            }
        }
        // A malformed message is passed on to the service.
        for bytes in [vec![], vec![0, 0], message(9)[..9].to_vec()] {
            let (read, _) = read(body(vec![(0, bytes.clone())], true), 10_000).await;
            assert_eq!(read.unwrap(), bytes);
        }
        let larger = body(vec![(0, message(MAX_MESSAGE_BYTES + 1))], true);
        let (larger, _) = read(larger, 10_000).await;
        assert_eq!(larger.unwrap().len(), MAX_MESSAGE_BYTES + 6);
    }

    #[tokio::test]
    async fn message_timeout_is_not_extended_by_bytes() {
        let late = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
        // No message; a slow one; one without the end of the call.
        let drips = message(100).into_iter().map(|byte| (20, vec![byte])).collect();
        for body in [body(vec![], false), body(drips, true), body(vec![(0, message(3))], false)] {
            let (read, shares) = read(body, 200).await;
            assert_eq!(reason(&read.unwrap_err()), late);
            assert_eq!(shares.taken(), 0);
        }
        // The timeout grows by a second for each [`MESSAGE_BYTES_PER_SECOND`] bytes.
        let parts = message(500_000).chunks(50_000).map(|part| (30, part.to_vec())).collect();
        assert!(read(body(parts, true), 100).await.0.is_ok());
    }

    #[tokio::test]
    async fn second_message_or_exceeded_share_is_rejected() {
        let two = [message(3), message(3)].concat();
        let (read_two, _) = read(body(vec![(0, two)], false), 10_000).await;
        let unreadable = (Code::InvalidArgument, "UNREADABLE_MESSAGE".to_owned());
        assert_eq!(reason(&read_two.unwrap_err()), unreadable);
        // Rejected by the length in the prefix, before the bytes arrive.
        let (large, _) = read(body(vec![(0, message(700_000)[..5].to_vec())], false), 10_000).await;
        let large = large.unwrap_err();
        assert_eq!(reason(&large), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
        assert!(large.get_details_retry_info().unwrap().retry_delay.is_some());
    }
}
