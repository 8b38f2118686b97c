//! Subscribes to the feed of a product, reconnects, and detects missing and duplicate events.

mod gap_detector;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use concord_proto::{
    pb::records::{
        AcknowledgeRequest, ErrorReason, Handshake, SnapshotEnd, StartFrom, SubscribeRequest,
        SubscribeResponse, subscribe_response::Message,
    },
    wire::{Event, SnapshotRecord},
};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Status, Streaming};

use super::{
    CallError, ServiceClient,
    retry::{self, Backoff},
};
use gap_detector::{GapDetector, GapError};

/// The idle timeout of a stream: three times the heartbeat interval.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// A permanent error of a feed.
#[derive(Debug)]
pub(crate) enum FeedError {
    /// A call failed permanently.
    Call(CallError),
    /// The feed cannot resume after the cursor, or after the position of the subscription
    /// when `named`.
    CursorUnavailable { error: CallError, named: bool },
    /// A newer stream of the subscription has taken over.
    TakenOver(String),
    /// Events are missing or duplicated.
    Gap(GapError),
}

impl std::error::Error for FeedError {}

impl From<GapError> for FeedError {
    fn from(error: GapError) -> Self {
        Self::Gap(error)
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::CursorUnavailable { error, named } => {
                let options = if *named { "--snapshot --restart" } else { "--snapshot" };
                write!(f, "{error}\n  {options} restarts from a snapshot of every record")
            }
            Self::TakenOver(name) => write!(
                f,
                "another stream of the subscription {name} has taken over, and this one ended; a \
                 second subscriber needs a subscription of its own"
            ),
            Self::Gap(error) => error.fmt(f),
        }
    }
}

/// A subscription to the feed of one product. It reconnects after transient errors, and resumes
/// from its last position.
#[derive(Debug)]
pub(crate) struct Feed {
    server: ServiceClient,
    /// The request of the first stream.
    request: SubscribeRequest,
    /// Whether later streams resume from the acknowledged position of the subscription.
    read_only: bool,
    /// The cursor after the last received message; empty before the first handshake.
    cursor: String,
    /// A cursor to acknowledge before more messages are received.
    pending_acknowledgement: Option<String>,
    stream: Option<Streaming<SubscribeResponse>>,
    gaps: GapDetector,
    backoff: Backoff,
    /// The time of the next attempt after an error.
    retry_at: Option<Instant>,
    /// When the stream times out without a message; none while no receive is pending.
    idle_deadline: Option<Instant>,
    idle_timeout: Duration,
}

/// An update from the feed.
#[derive(Debug)]
pub(crate) enum FeedUpdate {
    /// A stream was opened.
    Connected(Handshake),
    /// Records of a snapshot.
    SnapshotRecords(Vec<SnapshotRecord>),
    /// The snapshot is complete.
    SnapshotEnd(SnapshotEnd),
    /// New events, without duplicates.
    Events(Vec<Event>),
    /// The requested acknowledgement was sent.
    Acknowledged,
    /// Flow control: the server waits for an acknowledgement.
    AwaitingAcknowledgement,
    /// A transient error; the feed retries.
    Disconnected(CallError),
}

impl Feed {
    /// A feed whose first stream uses this request.
    pub(crate) fn new(server: ServiceClient, request: SubscribeRequest) -> Self {
        Self {
            server,
            request,
            read_only: false,
            cursor: String::new(),
            pending_acknowledgement: None,
            stream: None,
            gaps: GapDetector::default(),
            backoff: Backoff::unlimited(),
            retry_at: None,
            idle_deadline: None,
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// A feed that does not change the position of its subscription. It resumes by the name
    /// alone, because resuming from a cursor acknowledges that cursor.
    pub(crate) fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// The cursor to resume from; empty before the first handshake.
    pub(crate) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Whether a stream is open, and no acknowledgement is pending.
    pub(crate) fn is_connected(&self) -> bool {
        self.stream.is_some() && !self.has_pending_acknowledgement()
    }

    /// Whether an acknowledgement was requested and is not confirmed.
    pub(crate) fn has_pending_acknowledgement(&self) -> bool {
        self.pending_acknowledgement.is_some()
    }

    /// Requests the acknowledgement of everything received so far. The next call of
    /// [`Self::next`] sends it, with retries.
    pub(crate) fn acknowledge(&mut self) {
        self.pending_acknowledgement = Some(self.cursor.clone());
    }

    /// Waits for the next update. Cancel safe: dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<FeedUpdate, FeedError> {
        loop {
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            if let Some(cursor) = self.pending_acknowledgement.clone() {
                return self.send_acknowledgement(cursor).await;
            }
            match self.receive().await {
                Ok(message) => {
                    self.backoff.reset();
                    self.idle_deadline = None;
                    if let Some(update) = self.handle(message)? {
                        return Ok(update);
                    }
                }
                Err(status) => {
                    (self.stream, self.idle_deadline) = (None, None);
                    return self.disconnected(status);
                }
            }
        }
    }

    async fn send_acknowledgement(&mut self, cursor: String) -> Result<FeedUpdate, FeedError> {
        let subscription = self.request.subscription.clone();
        let mut changes = self.server.changes();
        let call = changes.acknowledge(AcknowledgeRequest { subscription, cursor });
        match timeout(self.idle_timeout, call).await {
            Ok(Ok(_)) => {
                self.pending_acknowledgement = None;
                self.backoff.reset();
                Ok(FeedUpdate::Acknowledged)
            }
            Ok(Err(status)) => self.disconnected(status),
            Err(_) => self.disconnected(self.idle_error()),
        }
    }

    async fn receive(&mut self) -> Result<Message, Status> {
        let deadline =
            *self.idle_deadline.get_or_insert_with(|| Instant::now() + self.idle_timeout);
        let message = timeout_at(deadline, self.message()).await;
        message.unwrap_or_else(|_| Err(self.idle_error()))
    }

    fn idle_error(&self) -> Status {
        let seconds = self.idle_timeout.as_secs();
        Status::unavailable(format!("no message from the server for {seconds} s"))
    }

    async fn message(&mut self) -> Result<Message, Status> {
        if self.stream.is_none() {
            let call = self.server.changes().subscribe(self.next_request()).await?;
            self.stream = Some(call.into_inner());
        }
        let Some(stream) = &mut self.stream else { return Err(Status::unavailable("no stream")) };
        let message = stream.message().await?.and_then(|message| message.message);
        message.ok_or_else(|| Status::unavailable("the server ended the stream"))
    }

    /// The request of the next stream. Later streams resume where the previous one ended.
    fn next_request(&self) -> SubscribeRequest {
        let first = self.request.clone();
        if self.cursor.is_empty() {
            first
        } else if self.read_only {
            SubscribeRequest { cursor: String::new(), restart: false, ..first }
        } else {
            let start_from = StartFrom::Unspecified.into();
            SubscribeRequest { start_from, cursor: self.cursor.clone(), restart: false, ..first }
        }
    }

    fn handle(&mut self, message: Message) -> Result<Option<FeedUpdate>, GapError> {
        let update = match message {
            Message::Handshake(handshake) => {
                self.start(&handshake)?;
                FeedUpdate::Connected(handshake)
            }
            Message::SnapshotRecords(page) => {
                self.gaps.add_records(page.records.len());
                self.cursor = page.cursor;
                FeedUpdate::SnapshotRecords(page.records)
            }
            Message::SnapshotEnd(end) => {
                self.gaps.end_snapshot(end.position, end.record_count)?;
                self.cursor.clone_from(&end.cursor);
                FeedUpdate::SnapshotEnd(end)
            }
            Message::Events(events) => {
                let new = self.gaps.add_events(events.events)?;
                self.gaps.advance(events.position);
                self.cursor = events.cursor;
                return Ok((!new.is_empty()).then_some(FeedUpdate::Events(new)));
            }
            Message::Heartbeat(heartbeat) => {
                self.gaps.advance(heartbeat.position);
                self.cursor = heartbeat.cursor;
                let is_waiting = heartbeat.waiting_for_acknowledgement;
                return Ok(is_waiting.then_some(FeedUpdate::AwaitingAcknowledgement));
            }
            Message::Closing(closing) => {
                self.gaps.close();
                self.cursor = closing.cursor;
                self.stream = None;
                return Ok(None);
            }
        };
        Ok(Some(update))
    }

    fn start(&mut self, handshake: &Handshake) -> Result<(), GapError> {
        let Handshake { cursor, position, head_position, .. } = handshake;
        if self.cursor.is_empty() || self.read_only {
            self.gaps.start(*position, *head_position)?;
        } else {
            self.gaps.resume(*position)?;
        }
        self.cursor.clone_from(cursor);
        Ok(())
    }

    /// Handles an error of the stream or of an acknowledgement: schedules a retry, or fails.
    fn disconnected(&mut self, status: Status) -> Result<FeedUpdate, FeedError> {
        let Some(delay) = self.backoff.next_delay(&status) else {
            return Err(self.permanent_error(status));
        };
        self.retry_at = Some(Instant::now() + delay);
        Ok(FeedUpdate::Disconnected(status.into()))
    }

    fn permanent_error(&self, status: Status) -> FeedError {
        let name = &self.request.subscription;
        if retry::has_reason(&status, ErrorReason::SubscriptionTakenOver) {
            return FeedError::TakenOver(name.clone());
        }
        let reasons =
            [ErrorReason::CursorTooOld, ErrorReason::CursorTooNew, ErrorReason::CursorForeign];
        let is_unavailable = reasons.into_iter().any(|reason| retry::has_reason(&status, reason));
        if status.code() == Code::OutOfRange && is_unavailable {
            return FeedError::CursorUnavailable { error: status.into(), named: !name.is_empty() };
        }
        FeedError::Call(status.into())
    }
}
