//! Response bytes that callers have not read yet: bounded in size and in time.
//!
//! While the flow-control window of a caller is empty, the transport buffers its response
//! without a time limit. So the bytes of all unread responses are bounded, and shared by
//! tenants: a call keeps its permit until there is room for its response, and a stream
//! creates no message while its tenant has no room. Bytes count until their memory is
//! freed, also inside the transport.
//!
//! The transport does not poll a body while the window is empty, so that a body cannot
//! detect a slow reader by itself. A [task](ResponseBuffers::watch) checks all of them, and
//! drops the rest of those that are late. Only the chunk in the transport remains, and the
//! status that the caller gets if it continues to read. If it does not, the stream is
//! reset, which frees both.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body as _, Frame};
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, body::Body};
use tracing::Span;

use super::{concurrency_limit::RETRY_AFTER, streams::StreamPermit, tenant::Tenant};
use crate::{
    connections::StreamDeadline,
    limits::{Limits, MIN_READ_BYTES, RESET_AFTER},
    shares::{Ratio, Share, Shares},
};
use concord_core::status::ApiError;
use concord_proto::pb::records::ErrorReason;

/// The size of a chunk for the transport: a frame of HTTP/2. The transport buffers a chunk
/// that does not fit the window.
const CHUNK: usize = 16 * 1_024;

/// The bytes that a response counts beside its length: its overhead in the transport.
const OVERHEAD: u64 = 4 * 1_024;

/// The name of the quota in errors.
const QUOTA: &str = "unread answers";

/// The minimum number of checks within the timeout of a response.
const CHECKS: u32 = 8;

/// The maximum interval between two checks.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The unread responses of one server.
#[derive(Debug)]
pub(super) struct ResponseBuffers {
    bytes: Arc<Shares<Tenant>>,
    answer_time: Duration,
    stream_time: Duration,
    watched: Mutex<Vec<Watched>>,
}

/// A response, and the progress of its reader at an instant.
#[derive(Debug)]
struct Watched {
    response: Weak<Response>,
    time: Duration,
    sent: u64,
    at: Instant,
}

impl ResponseBuffers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            bytes: Arc::new(Shares::new(limits.answer_bytes, Ratio::EQUAL)),
            answer_time: limits.answer_time,
            stream_time: limits.stream_time,
            watched: Mutex::default(),
        }
    }

    /// The number of buffered bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.taken()
    }

    /// Returns `true` if a new call of the tenant may be started. A running call keeps its
    /// permit until there is room for its response.
    pub(super) fn has_room_for(&self, tenant: &Tenant) -> bool {
        self.bytes.may_take(tenant, OVERHEAD)
    }

    /// Buffers the encoded response of a unary call, once there is room for it. A response
    /// without a message is returned unchanged.
    pub(super) async fn buffer_unary(&self, reader: Reader, mut body: Body) -> Body {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = frame else { return Body::empty() };
        let first = match frame.map(Frame::into_data) {
            Ok(Ok(bytes)) => {
                let amount = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let share = self.bytes.take(&reader.tenant, amount.saturating_add(OVERHEAD)).await;
                Ok(Unsent { bytes, share, is_whole: true })
            }
            Ok(Err(trailers)) => Err(Ok(trailers)),
            Err(status) => Err(Err(status)),
        };
        let (unsent, other) = match first {
            Ok(unsent) => (Some(unsent), None),
            Err(frame) => (None, Some(frame)),
        };
        let is_large = unsent.as_ref().is_some_and(|unsent| unsent.bytes.len() > CHUNK);
        let response = Response::new(self, reader, Contents { unsent, other, body: Some(body) });
        if is_large {
            self.watch_one(&response, self.answer_time);
        }
        Body::new(BufferedBody { response, room: None, stream: None })
    }

    /// Buffers a response stream, which holds its permit until it ends.
    pub(super) fn buffer_stream(
        &self,
        reader: Reader,
        body: Body,
        permit: Arc<StreamPermit>,
    ) -> Body {
        let contents = Contents { unsent: None, other: None, body: Some(body) };
        let response = Response::new(self, reader, contents);
        self.watch_one(&response, self.stream_time);
        Body::new(BufferedBody { response, room: None, stream: Some(permit) })
    }

    fn watch_one(&self, response: &Arc<Response>, time: Duration) {
        let response = Arc::downgrade(response);
        let watched = Watched { response, time, sent: 0, at: Instant::now() };
        self.lock().push(watched);
    }

    /// Drops the rest of the responses that are not read in time, until `stop`.
    pub(super) async fn watch(&self, stop: &CancellationToken) {
        let shortest = self.answer_time.min(self.stream_time);
        let interval = (shortest / CHECKS).min(MAX_CHECK_INTERVAL);
        while stop.run_until_cancelled(sleep(interval)).await.is_some() {
            self.drop_late(Instant::now());
        }
    }

    fn drop_late(&self, now: Instant) {
        let mut late = Vec::new();
        self.lock().retain_mut(|watched| {
            let Some(response) = watched.response.upgrade() else { return false };
            let sent = response.progress.sent.load(Ordering::Relaxed);
            let is_all_sent = response.progress.created.load(Ordering::Relaxed) == sent;
            if is_all_sent || sent - watched.sent >= MIN_READ_BYTES {
                (watched.sent, watched.at) = (sent, now);
            } else if now.saturating_duration_since(watched.at) >= watched.time {
                late.push(response);
                return false;
            }
            true
        });
        // Without the lock.
        for response in late {
            response.drop_rest();
        }
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader of a response.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) tenant: Tenant,
    /// When the transport resets the stream of the response.
    pub(super) deadline: StreamDeadline,
}

/// The number of bytes that a response has created, and that the transport has sent.
#[derive(Debug, Default)]
struct Progress {
    created: AtomicU64,
    sent: AtomicU64,
}

/// The rest of a response, shared with the task that may drop it.
#[derive(Debug)]
struct Response {
    bytes: Arc<Shares<Tenant>>,
    reader: Reader,
    progress: Arc<Progress>,
    span: Span,
    /// `None` after it was dropped because it was late.
    contents: Mutex<Option<Contents>>,
}

#[derive(Debug)]
struct Contents {
    unsent: Option<Unsent>,
    /// A frame or an error in place of a message.
    other: Option<Result<Frame<Bytes>, Status>>,
    /// `None` after the end.
    body: Option<Body>,
}

/// Bytes that have not been passed to the transport yet.
#[derive(Debug)]
struct Unsent {
    bytes: Bytes,
    share: Share<Tenant>,
    /// No chunk has been split off.
    is_whole: bool,
}

impl Response {
    fn new(buffers: &ResponseBuffers, reader: Reader, contents: Contents) -> Arc<Self> {
        let progress = Arc::<Progress>::default();
        let created = contents.unsent.as_ref().map_or(0, |unsent| unsent.bytes.len());
        progress.created.store(u64::try_from(created).unwrap_or(u64::MAX), Ordering::Relaxed);
        let bytes = Arc::clone(&buffers.bytes);
        let (span, contents) = (Span::current(), Mutex::new(Some(contents)));
        Arc::new(Self { bytes, reader, progress, span, contents })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Contents>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_rest(&self) {
        let rest = self.lock().take();
        if rest.is_some_and(|rest| rest.body.is_some()) {
            let message = "a response was not read in time: its rest was dropped";
            self.span.in_scope(|| tracing::info!("{message}"));
            self.reader.deadline.set(Some(Instant::now() + RESET_AFTER));
        }
    }

    /// Splits the next chunk for the transport off.
    fn next_chunk(&self, unsent: Unsent) -> (Bytes, Option<Unsent>) {
        let Unsent { mut bytes, share, is_whole } = unsent;
        if is_whole && bytes.len() <= CHUNK {
            return (self.chunk(bytes, share), None);
        }
        // Copied, because a slice would keep the memory of the whole response.
        let chunk = Bytes::copy_from_slice(&bytes.split_to(bytes.len().min(CHUNK)));
        let amount = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let chunk = self.chunk(chunk, self.bytes.force_take(&self.reader.tenant, amount));
        let rest = (!bytes.is_empty()).then_some(Unsent { bytes, share, is_whole: false });
        (chunk, rest)
    }

    fn chunk(&self, bytes: Bytes, share: Share<Tenant>) -> Bytes {
        Bytes::from_owner(Chunk { bytes, progress: Arc::clone(&self.progress), _share: share })
    }

    /// Counts the bytes of a new message.
    fn unsent(&self, bytes: Bytes) -> Unsent {
        let amount = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.progress.created.fetch_add(amount, Ordering::Relaxed);
        let share = self.bytes.force_take(&self.reader.tenant, amount.saturating_add(OVERHEAD));
        Unsent { bytes, share, is_whole: true }
    }
}

/// Bytes that the transport holds.
struct Chunk {
    bytes: Bytes,
    progress: Arc<Progress>,
    _share: Share<Tenant>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let amount = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        self.progress.sent.fetch_add(amount, Ordering::Relaxed);
    }
}

/// The body of a response for the transport.
struct BufferedBody {
    response: Arc<Response>,
    /// The notification that a stream waits for while its tenant has no room.
    room: Option<Pin<Box<OwnedNotified>>>,
    stream: Option<Arc<StreamPermit>>,
}

impl BufferedBody {
    /// Waits until the tenant of a stream has room for a message.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(room) = &mut self.room {
                ready!(room.as_mut().poll(context));
            }
            let freed = self.response.bytes.freed();
            if self.response.bytes.may_take(&self.response.reader.tenant, 1) {
                self.room = None;
                return Poll::Ready(());
            }
            self.room = Some(Box::pin(freed));
        }
    }
}

impl http_body::Body for BufferedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let has_unsent = self.response.lock().as_ref().is_some_and(|rest| rest.unsent.is_some());
        if self.stream.is_some() && !has_unsent {
            ready!(self.poll_room(context));
        }
        let response = Arc::clone(&self.response);
        let mut contents = response.lock();
        let Some(rest) = contents.as_mut() else {
            *contents = Some(Contents { unsent: None, other: None, body: None });
            return Poll::Ready(Some(Ok(Frame::trailers(too_late()))));
        };
        if rest.unsent.is_none() {
            let frame = match (rest.other.take(), &mut rest.body) {
                (Some(frame), _) => Some(frame),
                (None, Some(body)) => ready!(Pin::new(body).poll_frame(context)),
                (None, None) => None,
            };
            let Some(frame) = frame else {
                rest.body = None;
                return Poll::Ready(None);
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => rest.unsent = Some(response.unsent(bytes)),
                Ok(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
        let chunk = rest.unsent.take().map(|unsent| {
            let (chunk, unsent) = response.next_chunk(unsent);
            rest.unsent = unsent;
            Ok(Frame::data(chunk))
        });
        Poll::Ready(chunk)
    }
}

/// The error of a call whose tenant has too many unread responses.
pub(super) fn too_many() -> ApiError {
    let message = "too many responses to the product in this practice are unread; the call was \
                   not started: read them first";
    ApiError::limit_reached(QUOTA, message, RETRY_AFTER)
}

/// The error of a call that is done, and whose response finds no room in time.
pub(super) fn no_room() -> ApiError {
    let message = "there is no room for the response, because other responses to the product in \
                   this practice are unread; the call has completed: read them, and retry it \
                   with the same request_id to get its response";
    ApiError::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message)
        .with("begun", "true")
        .retry_after(RETRY_AFTER)
}

/// The trailers of a response that was not read in time.
fn too_late() -> HeaderMap {
    let message = "the response was not read in time; its rest was dropped";
    let error = ApiError::limit_reached(QUOTA, message, RETRY_AFTER);
    let mut trailers = std::mem::take(Status::from(error).into_http::<()>().headers_mut());
    trailers.remove(CONTENT_TYPE);
    trailers
}

#[cfg(test)]
mod tests;
