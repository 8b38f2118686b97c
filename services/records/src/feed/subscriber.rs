//! One stream of a subscriber.
//!
//! It sends the snapshot when one was asked for, then reads the tables from its
//! position on until it has caught up with the tail, and then takes what the tail
//! hands out. When it falls behind, because its reader is slow or does not
//! acknowledge, it goes back to the tables: between two messages it holds nothing.

pub(crate) mod event;
mod snapshot;

use std::time::Duration;

use shared::{
    caller::Listener,
    pb::records::{
        Closing, ClosingReason, EchoMode, ErrorReason, Events, Handshake, Heartbeat,
        SubscribeResponse, subscribe_response::Message,
    },
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Instant, Interval, MissedTickBehavior},
};
use tonic::Status;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Feed,
    cursor::{Cursor, Seal, refused},
    opening::{self, Opened, Subscribing},
    session::{Progress, Session},
    tail::{self, Batch, FeedItem, Tail},
};
use crate::{
    domain::{
        filter::{Filter, Hearer, Verdict},
        place::{Place, Walk},
    },
    error::RecordError,
    store::feed::{FeedEnds, Spot, standing},
};

/// A stream that has nothing to say says so this often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often a stream looks whether its product is still connected.
const CONNECTION_CHECK: Duration = Duration::from_secs(10);

/// How long a stream waits after an error of the database.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// Messages that wait for the transport. With the tail's batches, the bound on
/// the memory of a stream whose reader is slow.
const WAITING_MESSAGES: usize = 1;

/// What is sent to the transport.
pub(crate) type Messages = mpsc::Receiver<Result<SubscribeResponse, Status>>;

/// One stream, while it lives.
struct Stream {
    feed: Feed,
    listener: Listener,
    filter: Filter,
    out: mpsc::Sender<Result<SubscribeResponse, Status>>,
    seal: Seal,
    /// The place up to which everything was sent or left out, and the change at
    /// its position.
    place: Place,
    change: Option<Uuid>,
    /// The position of the event that was sent last.
    delivered: i64,
    ends: FeedEnds,
    /// The subscription that the stream belongs to.
    session: Option<Session>,
    heartbeat: Interval,
    /// When to look whether the product is still connected.
    connection_check: Interval,
}

/// Why a stream ends.
enum End {
    /// The reader has gone away.
    Gone,
    Closed(ClosingReason),
    Failed(RecordError),
}

impl From<RecordError> for End {
    fn from(error: RecordError) -> Self {
        Self::Failed(error)
    }
}

/// Whether all of a batch was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    /// The window was full before its end.
    Part,
}

/// Opens a stream, which ends at `closes_at` at the latest.
///
/// # Errors
///
/// As [`opening::open`].
pub(crate) async fn open(
    feed: &Feed,
    listener: Listener,
    asked: Subscribing,
    closes_at: Option<Instant>,
) -> Result<Messages, RecordError> {
    let Opened { seal, standing, place, session } = opening::open(feed, &listener, &asked).await?;
    let (out, messages) = mpsc::channel(WAITING_MESSAGES);
    let every = |time| {
        let mut interval = tokio::time::interval(time);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.reset();
        interval
    };
    let stream = Stream {
        feed: feed.clone(),
        listener,
        filter: asked.filter,
        out,
        seal,
        delivered: place.position,
        place,
        change: standing.change,
        ends: standing.ends,
        session,
        heartbeat: every(HEARTBEAT),
        connection_check: every(CONNECTION_CHECK),
    };
    tokio::spawn(stream.run(closes_at).in_current_span());
    Ok(messages)
}

impl Stream {
    async fn run(mut self, closes_at: Option<Instant>) {
        let stop = self.feed.stop().clone();
        // Even of a stream that ends at once it is the first message; the channel
        // has room for it.
        let handshake = message(Message::Handshake(self.handshake()));
        let _ = self.out.try_send(Ok(handshake));
        let end = tokio::select! {
            end = self.send_all() => end,
            () = stop.cancelled() => End::Closed(ClosingReason::Shutdown),
            () = at(closes_at) => End::Closed(ClosingReason::ConnectionAge),
        };
        let last = match end {
            End::Gone => None,
            End::Closed(reason) => {
                let closing = Closing { reason: reason.into(), cursor: self.cursor() };
                Some(Ok(message(Message::Closing(closing))))
            }
            End::Failed(error) => Some(Err(error.into())),
        };
        let (progress, session) = (self.progress(), self.session.take());
        let write_down = async {
            if let Some(session) = session {
                session.end(progress).await;
            }
        };
        let say = async {
            if let Some(last) = last {
                // The reader may have gone away, or may not read: the drain of the
                // server, or the end of the connection, ends that wait.
                let _ = self.out.send(last).await;
            }
        };
        tokio::join!(write_down, say);
    }

    async fn send_all(&mut self) -> End {
        let Err(end) = self.send_until_the_end().await;
        end
    }

    async fn send_until_the_end(&mut self) -> Result<std::convert::Infallible, End> {
        self.heartbeat.reset();
        self.send_snapshot().await?;
        let tail = self.feed.tail(&self.listener.product);
        loop {
            match self.send_what_is_new(&tail).await {
                Err(End::Failed(error)) if error.is_passing() => self.pause(&error).await?,
                sent => sent?,
            }
        }
    }

    /// Sends changes until this stream has to read the tables again.
    async fn send_what_is_new(&mut self, tail: &Tail) -> Result<(), End> {
        self.wait_for_room().await?;
        // Before the tables are read, or a batch could slip between.
        let batches = tail.subscribe();
        if self.catch_up().await? == Sent::All {
            self.follow(batches).await?;
        }
        Ok(())
    }

    /// Waits a while, because the database does not answer: the stream goes on
    /// where it is when it does.
    async fn pause(&mut self, error: &RecordError) -> Result<(), End> {
        tracing::debug!(%error, "a stream waits for the database");
        tokio::select! {
            () = tokio::time::sleep(PAUSE_AFTER_ERROR) => Ok(()),
            _ = self.heartbeat.tick() => self.beat(false).await,
            () = self.out.closed() => Err(End::Gone),
        }
    }

    fn handshake(&self) -> Handshake {
        let walk = self.place.walk.as_ref();
        Handshake {
            cursor: self.cursor(),
            position: self.place.position,
            head_position: self.ends.head,
            product: self.listener.product.to_string(),
            subscription: self.session.as_ref().map(Session::name).unwrap_or_default().to_owned(),
            snapshot: walk.is_some(),
            snapshot_resumed: walk.is_some_and(|walk| *walk != Walk::beginning()),
        }
    }

    /// Waits until an event may be sent: at most a window of them is not
    /// acknowledged.
    async fn wait_for_room(&mut self) -> Result<(), End> {
        while self.room() == 0 {
            tokio::select! {
                () = news(&mut self.session) => self.look().await?,
                _ = self.heartbeat.tick() => {
                    self.see_ends().await?;
                    self.beat(true).await?;
                }
                () = self.out.closed() => return Err(End::Gone),
            }
        }
        Ok(())
    }

    /// Looks how far the feed has come, while nothing is read from it.
    async fn see_ends(&mut self) -> Result<(), RecordError> {
        let (db, product) = (self.feed.db().reader(), &self.listener.product);
        if let Some(standing) = standing(db, product, Spot::Newest).await? {
            self.ends = standing.ends;
        }
        Ok(())
    }

    /// Reads the tables until there is nothing new, or the window is full.
    async fn catch_up(&mut self) -> Result<Sent, End> {
        loop {
            let product = &self.listener.product;
            let batches = tail::read(self.feed.db(), product, self.place.position).await?;
            let mut moved = false;
            for batch in batches {
                moved |= !batch.items.is_empty();
                if self.send_batch(&batch).await? == Sent::Part {
                    return Ok(Sent::Part);
                }
            }
            if !moved {
                return Ok(Sent::All);
            }
        }
    }

    /// Takes what the tail hands out, until this stream has missed some.
    async fn follow(&mut self, mut batches: broadcast::Receiver<Batch>) -> Result<(), End> {
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Ok(batch) if batch.after > self.place.position => return Ok(()),
                    Ok(batch) => {
                        if self.send_batch(&batch).await? == Sent::Part {
                            return Ok(());
                        }
                    }
                    Err(RecvError::Lagged(_)) => return Ok(()),
                    Err(RecvError::Closed) => return Err(End::Closed(ClosingReason::Shutdown)),
                },
                () = news(&mut self.session) => self.look().await?,
                _ = self.heartbeat.tick() => self.beat(false).await?,
                _ = self.connection_check.tick() => self.check_connection().await?,
                () = self.out.closed() => return Err(End::Gone),
            }
        }
    }

    /// Sends what is new in `batch` and passes the filter, as far as the window
    /// has room.
    ///
    /// The place moves after the message was taken: a stream that is stopped while
    /// it waits must not say that it sent it.
    async fn send_batch(&mut self, batch: &Batch) -> Result<Sent, End> {
        self.ends = batch.ends.clone();
        self.check_contiguous(batch)?;
        let (mut events, mut last, mut sent) = (Vec::new(), None, Sent::All);
        let (mut delivered, room) = (self.delivered, self.room());
        for item in batch.items.iter().filter(|item| item.row.position > self.place.position) {
            let passes = self.passes(item);
            if passes && events.len() == room {
                sent = Sent::Part;
                break;
            }
            last = Some((item.row.position, item.row.id));
            if passes {
                events.push(self.event(item, delivered));
                delivered = item.row.position;
            }
        }
        let Some((position, change)) = last else { return Ok(sent) };
        let (place, change) = (Place::after(position), Some(change));
        let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
        if !events.is_empty() {
            let cursor = self.cursor_at(place.clone(), change).encode();
            self.send(Message::Events(Events { events, cursor, position })).await?;
        }
        (self.place, self.change, self.delivered) = (place, change, delivered);
        let progress = self.progress();
        if let Some(session) = &mut self.session {
            for position in positions {
                session.window.sent(position);
            }
            session.moved(progress);
        }
        Ok(sent)
    }

    /// A position that is missing was removed by the purge: the stream must not
    /// step over it.
    fn check_contiguous(&self, batch: &Batch) -> Result<(), End> {
        let expected = batch.after + 1;
        let first = batch.items.first().map(|item| item.row.position);
        let torn = match first {
            Some(first) => first != expected,
            None => batch.after < batch.ends.floor - 1,
        };
        if !torn {
            return Ok(());
        }
        let ends = &batch.ends;
        let earliest =
            self.seal.cursor(Place::after(ends.floor - 1), Uuid::nil(), ends.floor_change);
        let latest = self.cursor_at(self.place.clone(), self.change);
        let refusal = refused(ErrorReason::CursorTooOld, &earliest, &latest);
        Err(End::Failed(refusal.into()))
    }

    fn hearer(&self) -> Hearer<'_> {
        let Listener { practice, product, account, .. } = &self.listener;
        Hearer { practice: practice.as_ref(), product, account }
    }

    fn passes(&self, item: &FeedItem) -> bool {
        let verdict = self.filter.verdict(self.hearer(), &event::audible(&item.row));
        verdict == Verdict::Sent
    }

    fn event(&self, item: &FeedItem, previous_position: i64) -> shared::wire::Event {
        let own = event::audible(&item.row).is_own(self.hearer());
        let marked = own && self.filter.echo == EchoMode::Mark;
        event::event(item, previous_position, own, marked)
    }

    /// Events that may be sent now.
    fn room(&self) -> usize {
        self.session.as_ref().map_or(usize::MAX, |session| session.window.room())
    }

    fn progress(&self) -> Progress {
        Progress { delivered: self.delivered, seen: self.place.position }
    }

    /// Whether this is still the newest stream of its subscription.
    async fn look(&mut self) -> Result<(), End> {
        let progress = self.progress();
        match &mut self.session {
            Some(session) => Ok(session.look(progress).await?),
            None => Ok(()),
        }
    }

    /// What happens while the product is disconnected is in no feed: a stream must
    /// not go on over that as if nothing were missing.
    async fn check_connection(&mut self) -> Result<(), End> {
        let db = self.feed.db().reader();
        let connection = opening::connection(db, &self.listener).await?;
        if connection.as_ref() == self.seal.connection() {
            return Ok(());
        }
        let refusal = opening::refusal(db, &self.listener, ErrorReason::CursorTooOld).await?;
        Err(End::Failed(refusal))
    }

    /// Says that the stream lives.
    async fn beat(&mut self, waiting_for_acknowledgement: bool) -> Result<(), End> {
        self.send(Message::Heartbeat(Heartbeat {
            cursor: self.cursor(),
            position: self.place.position,
            head_position: self.ends.head.max(self.place.position),
            waiting_for_acknowledgement,
        }))
        .await
    }

    /// The cursor to resume with.
    fn cursor(&self) -> String {
        self.cursor_at(self.place.clone(), self.change).encode()
    }

    fn cursor_at(&self, place: Place, change: Option<Uuid>) -> Cursor {
        let subscription = self.session.as_ref().map_or(Uuid::nil(), Session::id);
        self.seal.cursor(place, subscription, change)
    }

    /// Waits until the transport takes a message; meanwhile the stream may find
    /// that it is not the newest any longer.
    async fn send(&mut self, what: Message) -> Result<(), End> {
        let out = self.out.clone();
        let permit = loop {
            tokio::select! {
                permit = out.reserve() => break permit.map_err(|_| End::Gone)?,
                () = news(&mut self.session) => self.look().await?,
            }
        };
        permit.send(Ok(message(what)));
        self.heartbeat.reset();
        Ok(())
    }
}

/// Waits until it is time to look at the subscription; for ever without one.
async fn news(session: &mut Option<Session>) {
    match session {
        Some(session) => session.news().await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn message(message: Message) -> SubscribeResponse {
    SubscribeResponse { message: Some(message) }
}

#[cfg(test)]
mod tests;
