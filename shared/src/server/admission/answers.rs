//! Answers that their callers have not taken yet.
//!
//! The transport holds what a caller gives it no window for, for as long as the caller
//! likes. So the bytes of all answers that wait are bounded, and each tenant has a share
//! of them: a call keeps its place at work until its answer has room, and a stream makes
//! no message while its tenant has no room. What exists is counted until its memory is
//! freed, inside the transport too.
//!
//! The transport does not ask a body for more while there is no window, so a body cannot
//! notice by itself that it is not read. A [task](Answers::watch) looks at all of them,
//! and drops what is left of those that are late. Only the part that the transport holds
//! remains, and the status that the caller finds when it reads on. If it does not read on,
//! the stream is reset, which frees both.

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

use super::{places::COME_AGAIN, streams::StreamPlace, tenant::Tenant};
use crate::{
    pb::records::ErrorReason,
    server::{
        connections::StreamDeadline,
        limits::{LEAST_READ_BYTES, Limits, RESET_AFTER},
    },
    shares::{Ratio, Share, Shares},
    status::Refusal,
};

/// What the transport is given at a time: a frame of HTTP/2. It holds one that does not
/// fit the window.
const PART: usize = 16 * 1_024;

/// What an answer counts beside its bytes: what the transport keeps for it.
const BESIDE: u64 = 4 * 1_024;

/// The name of the limit, for callers.
const QUOTA: &str = "unread answers";

/// How often the time of an answer is looked at, at least.
const LOOKS: u32 = 8;

/// The longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The answers of one server.
#[derive(Debug)]
pub(super) struct Answers {
    bytes: Arc<Shares<Tenant>>,
    answer_time: Duration,
    stream_time: Duration,
    watched: Mutex<Vec<Watched>>,
}

/// An answer, and what had been taken of it when.
#[derive(Debug)]
struct Watched {
    answer: Weak<Held>,
    time: Duration,
    taken: u64,
    at: Instant,
}

impl Answers {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            bytes: Arc::new(Shares::new(limits.answer_bytes, Ratio::EQUAL)),
            answer_time: limits.answer_time,
            stream_time: limits.stream_time,
            watched: Mutex::default(),
        }
    }

    /// The bytes of answers that wait to be taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.taken()
    }

    /// Whether another answer may wait for callers of the tenant. A call that is at work
    /// already keeps its place until there is room.
    pub(super) fn has_room_for(&self, tenant: &Tenant) -> bool {
        self.bytes.may_take(tenant, BESIDE)
    }

    /// The answer to a call, encoded, once there is room for it. One that ends without a
    /// message stays as it is.
    pub(super) async fn of_call(&self, reader: Reader, mut body: Body) -> Body {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = frame else { return Body::empty() };
        let first = match frame.map(Frame::into_data) {
            Ok(Ok(bytes)) => {
                let amount = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let share = self.bytes.take(&reader.tenant, amount.saturating_add(BESIDE)).await;
                Ok(Waiting { bytes, share, is_whole: true })
            }
            Ok(Err(trailers)) => Err(Ok(trailers)),
            Err(status) => Err(Err(status)),
        };
        let (waiting, other) = match first {
            Ok(waiting) => (Some(waiting), None),
            Err(frame) => (None, Some(frame)),
        };
        let is_large = waiting.as_ref().is_some_and(|waiting| waiting.bytes.len() > PART);
        let held = Held::new(self, reader, Contents { waiting, other, body: Some(body) });
        if is_large {
            self.watch_one(&held, self.answer_time);
        }
        Body::new(Answer { held, room: None, stream: None })
    }

    /// The answer of a stream, which has its place until it ends.
    pub(super) fn of_stream(&self, reader: Reader, body: Body, place: Arc<StreamPlace>) -> Body {
        let contents = Contents { waiting: None, other: None, body: Some(body) };
        let held = Held::new(self, reader, contents);
        self.watch_one(&held, self.stream_time);
        Body::new(Answer { held, room: None, stream: Some(place) })
    }

    fn watch_one(&self, held: &Arc<Held>, time: Duration) {
        let watched = Watched { answer: Arc::downgrade(held), time, taken: 0, at: Instant::now() };
        self.lock().push(watched);
    }

    /// Drops what is left of answers that are not taken in time, until `stop`.
    pub(super) async fn watch(&self, stop: &CancellationToken) {
        let shortest = self.answer_time.min(self.stream_time);
        let every = (shortest / LOOKS).min(LOOK_EVERY);
        while stop.run_until_cancelled(sleep(every)).await.is_some() {
            self.look(Instant::now());
        }
    }

    fn look(&self, now: Instant) {
        let mut late = Vec::new();
        self.lock().retain_mut(|watched| {
            let Some(answer) = watched.answer.upgrade() else { return false };
            let taken = answer.progress.taken.load(Ordering::Relaxed);
            let nothing_waits = answer.progress.made.load(Ordering::Relaxed) == taken;
            if nothing_waits || taken - watched.taken >= LEAST_READ_BYTES {
                (watched.taken, watched.at) = (taken, now);
            } else if now.saturating_duration_since(watched.at) >= watched.time {
                late.push(answer);
                return false;
            }
            true
        });
        // Not while others wait for the lock.
        for answer in late {
            answer.give_up();
        }
    }

    /// Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever reads an answer.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) tenant: Tenant,
    /// When the transport resets the stream of the answer.
    pub(super) deadline: StreamDeadline,
}

/// How many bytes an answer has had, and how many of them the transport has sent.
#[derive(Debug, Default)]
struct Progress {
    made: AtomicU64,
    taken: AtomicU64,
}

/// What is left of an answer; shared with the task that may drop it.
#[derive(Debug)]
struct Held {
    bytes: Arc<Shares<Tenant>>,
    reader: Reader,
    progress: Arc<Progress>,
    span: Span,
    /// None once it was late.
    contents: Mutex<Option<Contents>>,
}

#[derive(Debug)]
struct Contents {
    waiting: Option<Waiting>,
    /// What came in place of a message.
    other: Option<Result<Frame<Bytes>, Status>>,
    /// None when it has ended.
    body: Option<Body>,
}

/// Bytes that the transport has not been given yet.
#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    share: Share<Tenant>,
    /// Whether nothing was taken off.
    is_whole: bool,
}

impl Held {
    fn new(answers: &Answers, reader: Reader, contents: Contents) -> Arc<Self> {
        let progress = Arc::<Progress>::default();
        let made = contents.waiting.as_ref().map_or(0, |waiting| waiting.bytes.len());
        progress.made.store(u64::try_from(made).unwrap_or(u64::MAX), Ordering::Relaxed);
        let bytes = Arc::clone(&answers.bytes);
        let (span, contents) = (Span::current(), Mutex::new(Some(contents)));
        Arc::new(Self { bytes, reader, progress, span, contents })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Contents>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self) {
        let left = self.lock().take();
        if left.is_some_and(|left| left.body.is_some()) {
            let message = "an answer was not read in time: what was left of it is dropped";
            self.span.in_scope(|| tracing::info!("{message}"));
            self.reader.deadline.set(Some(Instant::now() + RESET_AFTER));
        }
    }

    /// The next part for the transport.
    fn next_part(&self, waiting: Waiting) -> (Bytes, Option<Waiting>) {
        let Waiting { mut bytes, share, is_whole } = waiting;
        if is_whole && bytes.len() <= PART {
            return (self.part(bytes, share), None);
        }
        // A copy: a part would hold the memory of the whole.
        let part = Bytes::copy_from_slice(&bytes.split_to(bytes.len().min(PART)));
        let amount = u64::try_from(part.len()).unwrap_or(u64::MAX);
        let part = self.part(part, self.bytes.take_anyway(&self.reader.tenant, amount));
        let left = (!bytes.is_empty()).then_some(Waiting { bytes, share, is_whole: false });
        (part, left)
    }

    fn part(&self, bytes: Bytes, share: Share<Tenant>) -> Bytes {
        Bytes::from_owner(Part { bytes, progress: Arc::clone(&self.progress), _share: share })
    }

    /// Counts bytes that exist.
    fn wait(&self, bytes: Bytes) -> Waiting {
        let amount = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.progress.made.fetch_add(amount, Ordering::Relaxed);
        let share = self.bytes.take_anyway(&self.reader.tenant, amount.saturating_add(BESIDE));
        Waiting { bytes, share, is_whole: true }
    }
}

/// Bytes in the hands of the transport.
struct Part {
    bytes: Bytes,
    progress: Arc<Progress>,
    _share: Share<Tenant>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let amount = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        self.progress.taken.fetch_add(amount, Ordering::Relaxed);
    }
}

/// The body of an answer, as the transport sees it.
struct Answer {
    held: Arc<Held>,
    /// What a stream waits for whose tenant has no room.
    room: Option<Pin<Box<OwnedNotified>>>,
    stream: Option<Arc<StreamPlace>>,
}

impl Answer {
    /// Waits until the tenant of a stream has room for a message.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(room) = &mut self.room {
                ready!(room.as_mut().poll(context));
            }
            let freed = self.held.bytes.freed();
            if self.held.bytes.may_take(&self.held.reader.tenant, 1) {
                self.room = None;
                return Poll::Ready(());
            }
            self.room = Some(Box::pin(freed));
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let has_waiting = self.held.lock().as_ref().is_some_and(|left| left.waiting.is_some());
        if self.stream.is_some() && !has_waiting {
            ready!(self.poll_room(context));
        }
        let held = Arc::clone(&self.held);
        let mut contents = held.lock();
        let Some(left) = contents.as_mut() else {
            *contents = Some(Contents { waiting: None, other: None, body: None });
            return Poll::Ready(Some(Ok(Frame::trailers(too_late()))));
        };
        if left.waiting.is_none() {
            let frame = match (left.other.take(), &mut left.body) {
                (Some(frame), _) => Some(frame),
                (None, Some(body)) => ready!(Pin::new(body).poll_frame(context)),
                (None, None) => None,
            };
            let Some(frame) = frame else {
                left.body = None;
                return Poll::Ready(None);
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => left.waiting = Some(held.wait(bytes)),
                Ok(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
        let part = left.waiting.take().map(|waiting| {
            let (part, rest) = held.next_part(waiting);
            left.waiting = rest;
            Ok(Frame::data(part))
        });
        Poll::Ready(part)
    }
}

/// The refusal of a call whose tenant does not read the answers that it has.
pub(super) fn too_many() -> Refusal {
    let message = "too many answers to the product in this practice wait to be read; the call \
                   was not begun: read them first";
    Refusal::limit_reached(QUOTA, message, COME_AGAIN)
}

/// The refusal of an answer that there is no room for.
pub(super) fn no_room() -> Refusal {
    let message = "there is no room for the answer, because other answers to the product in this \
                   practice wait to be read; the call is done: read them, and send it again with \
                   the same request_id to have its answer";
    Refusal::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message)
        .with("begun", "true")
        .retry_after(COME_AGAIN)
}

/// How an answer ends that was not read in time.
fn too_late() -> HeaderMap {
    let message = "the answer was not read in time; the rest of it was dropped";
    let refusal = Refusal::limit_reached(QUOTA, message, COME_AGAIN);
    let mut trailers = std::mem::take(Status::from(refusal).into_http::<()>().headers_mut());
    trailers.remove(CONTENT_TYPE);
    trailers
}

#[cfg(test)]
mod tests;
