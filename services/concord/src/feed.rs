//! Listens to the feed of a product, and proves that nothing is missing.

mod chain;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use shared::{
    pb::records::{
        AcknowledgeRequest, ErrorReason, Handshake, SnapshotEnd, StartFrom, SubscribeRequest,
        SubscribeResponse, subscribe_response::Message,
    },
    wire::{Event, SnapshotRecord},
};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Status, Streaming};

use crate::{
    client::Server,
    refused::Refused,
    retry::{self, Patience},
};
use chain::{Broken, Chain};

/// A stream that says nothing for so long is dead: heartbeats come three times
/// as often.
const SILENCE: Duration = Duration::from_secs(45);

/// Why listening came to an end.
#[derive(Debug)]
pub(crate) enum FeedError {
    /// The service refused.
    Refused(Refused),
    /// The feed does not go on after the place; of a subscription when `named`.
    PlaceIsGone { why: Refused, named: bool },
    /// A newer stream of the subscription has begun.
    TakenOver(String),
    /// The chain of positions is broken: events are missing, or came twice.
    Broken(Broken),
}

impl std::error::Error for FeedError {}

impl From<Broken> for FeedError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::PlaceIsGone { why, named } => {
                let how = if *named { "--snapshot --restart" } else { "--snapshot" };
                write!(f, "{why}\n  {how} begins anew, with every record as it is now")
            }
            Self::TakenOver(name) => write!(
                f,
                "another stream of the subscription {name} has begun, and this one is over; a \
                 second reader needs a name of its own"
            ),
            Self::Broken(broken) => broken.fmt(f),
        }
    }
}

/// One product's feed. It connects again by itself, and goes on where it was.
#[derive(Debug)]
pub(crate) struct Feed {
    server: Server,
    /// How the first stream begins.
    request: SubscribeRequest,
    /// Whether later streams begin where the subscription was acknowledged.
    looks_only: bool,
    /// After what was heard; empty before the first handshake.
    cursor: String,
    /// To be acknowledged before anything else is done.
    owed: Option<String>,
    stream: Option<Streaming<SubscribeResponse>>,
    chain: Chain,
    patience: Patience,
    /// When to go on, after the connection was lost.
    again_at: Option<Instant>,
    /// When the stream is dead, unless something is heard; none while nobody
    /// listens to it.
    dead_at: Option<Instant>,
    silence: Duration,
}

/// What happened in the feed.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A stream begins.
    Beginning(Handshake),
    /// Records of a snapshot.
    Records(Vec<SnapshotRecord>),
    /// The snapshot is complete.
    SnapshotEnd(SnapshotEnd),
    /// Changes that were not heard before.
    Events(Vec<Event>),
    /// What was heard is acknowledged, as was asked.
    Acknowledged,
    /// The stream waits until something is acknowledged.
    Waiting,
    /// The connection was lost, and will be made again.
    Lost(Refused),
}

impl Feed {
    /// A feed that begins as the request says.
    pub(crate) fn new(server: Server, request: SubscribeRequest) -> Self {
        Self {
            server,
            request,
            looks_only: false,
            cursor: String::new(),
            owed: None,
            stream: None,
            chain: Chain::default(),
            patience: Patience::endless(),
            again_at: None,
            dead_at: None,
            silence: SILENCE,
        }
    }

    /// A subscription's feed that leaves its place where it is. It goes on by the
    /// name alone: to go on after a cursor would acknowledge it.
    pub(crate) fn looking_only(self) -> Self {
        Self { looks_only: true, ..self }
    }

    /// The cursor to go on with later; empty while there is none.
    pub(crate) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Whether a stream stands, and nothing waits to be acknowledged.
    pub(crate) fn is_connected(&self) -> bool {
        self.stream.is_some() && !self.owes()
    }

    /// Whether something is to be acknowledged, and is not yet.
    pub(crate) fn owes(&self) -> bool {
        self.owed.is_some()
    }

    /// Acknowledges everything that was heard so far, as soon as something is
    /// waited for; again and again while it may yet succeed.
    pub(crate) fn acknowledge(&mut self) {
        self.owed = Some(self.cursor.clone());
    }

    /// Waits for something to happen. The wait may be given up, and begun again:
    /// nothing is lost by it.
    pub(crate) async fn next(&mut self) -> Result<Heard, FeedError> {
        loop {
            if let Some(at) = self.again_at {
                tokio::time::sleep_until(at).await;
                self.again_at = None;
            }
            if let Some(cursor) = self.owed.clone() {
                return self.send_acknowledgement(cursor).await;
            }
            match self.receive().await {
                Ok(message) => {
                    self.patience.renew();
                    self.dead_at = None;
                    if let Some(heard) = self.take(message)? {
                        return Ok(heard);
                    }
                }
                Err(status) => {
                    (self.stream, self.dead_at) = (None, None);
                    return self.lost(status);
                }
            }
        }
    }

    async fn send_acknowledgement(&mut self, cursor: String) -> Result<Heard, FeedError> {
        let subscription = self.request.subscription.clone();
        let mut changes = self.server.changes();
        let call = changes.acknowledge(AcknowledgeRequest { subscription, cursor });
        match timeout(self.silence, call).await {
            Ok(Ok(_)) => {
                self.owed = None;
                self.patience.renew();
                Ok(Heard::Acknowledged)
            }
            Ok(Err(status)) => self.lost(status),
            Err(_) => self.lost(self.silent()),
        }
    }

    async fn receive(&mut self) -> Result<Message, Status> {
        let dead_at = *self.dead_at.get_or_insert_with(|| Instant::now() + self.silence);
        let message = timeout_at(dead_at, self.message()).await;
        message.unwrap_or_else(|_| Err(self.silent()))
    }

    fn silent(&self) -> Status {
        Status::unavailable(format!("the server was silent for {} s", self.silence.as_secs()))
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

    /// How the next stream begins: the first one as was asked, later ones where
    /// the one before has stopped.
    fn next_request(&self) -> SubscribeRequest {
        let first = self.request.clone();
        if self.cursor.is_empty() {
            first
        } else if self.looks_only {
            SubscribeRequest { cursor: String::new(), restart: false, ..first }
        } else {
            let start_from = StartFrom::Unspecified.into();
            SubscribeRequest { start_from, cursor: self.cursor.clone(), restart: false, ..first }
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Heard>, Broken> {
        let heard = match message {
            Message::Handshake(handshake) => {
                self.begin(&handshake)?;
                Heard::Beginning(handshake)
            }
            Message::SnapshotRecords(page) => {
                self.chain.records(page.records.len());
                self.cursor = page.cursor;
                Heard::Records(page.records)
            }
            Message::SnapshotEnd(end) => {
                self.chain.snapshot_end(end.position, end.record_count)?;
                self.cursor.clone_from(&end.cursor);
                Heard::SnapshotEnd(end)
            }
            Message::Events(events) => {
                let new = self.chain.events(events.events)?;
                self.chain.passed(events.position);
                self.cursor = events.cursor;
                return Ok((!new.is_empty()).then_some(Heard::Events(new)));
            }
            Message::Heartbeat(heartbeat) => {
                self.chain.passed(heartbeat.position);
                self.cursor = heartbeat.cursor;
                return Ok(heartbeat.waiting_for_acknowledgement.then_some(Heard::Waiting));
            }
            Message::Closing(closing) => {
                self.chain.closing();
                self.cursor = closing.cursor;
                self.stream = None;
                return Ok(None);
            }
        };
        Ok(Some(heard))
    }

    fn begin(&mut self, handshake: &Handshake) -> Result<(), Broken> {
        let Handshake { cursor, position, head_position, .. } = handshake;
        if self.cursor.is_empty() || self.looks_only {
            self.chain.begin(*position, *head_position)?;
        } else {
            self.chain.go_on(*position)?;
        }
        self.cursor.clone_from(cursor);
        Ok(())
    }

    /// The stream broke, or an acknowledgement failed.
    fn lost(&mut self, status: Status) -> Result<Heard, FeedError> {
        let Some(pause) = self.patience.pause_after(&status) else {
            return Err(self.over(status));
        };
        self.again_at = Some(Instant::now() + pause);
        Ok(Heard::Lost(status.into()))
    }

    fn over(&self, status: Status) -> FeedError {
        let name = &self.request.subscription;
        if retry::has_reason(&status, ErrorReason::SubscriptionTakenOver) {
            return FeedError::TakenOver(name.clone());
        }
        let gone =
            [ErrorReason::CursorTooOld, ErrorReason::CursorTooNew, ErrorReason::CursorForeign];
        let is_gone = gone.into_iter().any(|reason| retry::has_reason(&status, reason));
        if status.code() == Code::OutOfRange && is_gone {
            return FeedError::PlaceIsGone { why: status.into(), named: !name.is_empty() };
        }
        FeedError::Refused(status.into())
    }
}
