//! One stream of a subscriber.
//!
//! It sends the snapshot when one was asked for, then reads the tables from its
//! position on until it has caught up with the tail, and then takes what the tail
//! hands out. When it falls behind, because its reader is slow or does not
//! acknowledge, it goes back to the tables: between two messages it holds nothing.

pub(crate) mod event;
mod snapshot;

use std::{pin::pin, sync::Arc, time::Duration};

use shared::{
    caller::{Listener, PracticeId},
    pb::records::{
        Closing, ClosingReason, EchoMode, ErrorReason, Events, Handshake, Heartbeat,
        SubscribeResponse, subscribe_response::Message,
    },
    server::on_demand::{self, Demand, Gone, OnDemand},
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
    cursor::{Cursor, Seal},
    opening::{self, Opened, Subscribing},
    session::{Held, Progress, Session},
    tail::{self, Batch, FeedItem, Tail},
};
use crate::{
    domain::{
        filter::{Filter, Hearer, Verdict},
        place::{Place, Walk},
    },
    error::{RecordError, not_connected},
    store::feed::{FeedEnds, FeedRow, Mark, Spot, standing},
};

/// The intervals of a stream's periodic work beside sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The interval of heartbeats of a stream that has nothing to send.
    pub(crate) heartbeat: Duration,
    /// The interval of the check that the product is still connected, and that the feed
    /// is still the one that the stream has sent.
    pub(crate) check: Duration,
    /// The delay after an event before the stream stores its progress: support sees it
    /// that late.
    pub(crate) write: Duration,
}

impl Pace {
    pub(crate) const USUAL: Self = Self {
        heartbeat: Duration::from_secs(15),
        check: Duration::from_secs(10),
        write: Duration::from_secs(1),
    };
}

/// How long a stream waits after an error of the database.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// How long a stream keeps what it has read for its next message. After that it reads
/// the tables again when the message is wanted.
const KEEP_READ: Duration = Duration::from_secs(1);

/// What is sent to the transport.
pub(crate) type Messages = OnDemand<Result<SubscribeResponse, Status>>;

/// One stream, while it lives.
struct Stream {
    feed: Feed,
    listener: Arc<Listener>,
    filter: Arc<Filter>,
    out: mpsc::Sender<Result<SubscribeResponse, Status>>,
    /// Whether the transport has taken what was sent.
    demand: Demand,
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
    /// When to check that the product is still connected, and the feed the same.
    check: Interval,
}

/// Work of a stream beside sending.
#[derive(Clone, Copy, Debug)]
enum Due {
    Look,
    Heartbeat,
    Check,
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
    let (out, demand, messages) = on_demand::channel();
    let every = |time| {
        let mut interval = tokio::time::interval(time);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.reset();
        interval
    };
    let pace = feed.pace();
    let stream = Stream {
        feed: feed.clone(),
        listener: Arc::new(listener),
        filter: Arc::new(asked.filter),
        out,
        demand,
        seal,
        delivered: place.position,
        place,
        change: standing.change,
        ends: standing.ends,
        session,
        heartbeat: every(pace.heartbeat),
        check: every(pace.check),
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

    /// Waits until the transport wants a message: nothing is read for a reader that does
    /// not read.
    async fn until_wanted(&mut self) -> Result<(), End> {
        self.is_wanted_by(None).await.map(drop)
    }

    /// Whether the transport wants a message before what was read for it is given up.
    async fn is_wanted_soon(&mut self) -> Result<bool, End> {
        self.is_wanted_by(Some(Instant::now() + KEEP_READ)).await
    }

    async fn is_wanted_by(&mut self, until: Option<Instant>) -> Result<bool, End> {
        let mut demand = self.demand.clone();
        loop {
            tokio::select! {
                wanted = demand.wanted() => {
                    return wanted.map(|()| true).map_err(|Gone| End::Gone);
                }
                () = at(until) => return Ok(false),
                () = news(&mut self.session) => self.look().await?,
            }
        }
    }

    /// Waits until an event may be sent: at most a window of them is not
    /// acknowledged.
    async fn wait_for_room(&mut self) -> Result<(), End> {
        let out = self.out.clone();
        while self.room() == 0 {
            tokio::select! {
                due = self.due() => self.see_to(due).await?,
                () = out.closed() => return Err(End::Gone),
            }
        }
        Ok(())
    }

    /// Waits for some work of the database, however long it takes; meanwhile the stream
    /// does what is due. The work ends with the stream.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let (out, mut work) = (self.out.clone(), pin!(work));
        loop {
            let due = tokio::select! {
                // First what is due: work that is always ready would keep it waiting.
                biased;
                () = out.closed() => return Err(End::Gone),
                due = self.due() => due,
                done = &mut work => return Ok(done),
            };
            // The work continues meanwhile: it may hold the database connection that
            // this waits for.
            let (mut done, mut seen_to) = (None, pin!(self.see_to(due)));
            loop {
                tokio::select! {
                    seen = &mut seen_to => break seen?,
                    result = &mut work, if done.is_none() => done = Some(result),
                }
            }
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Waits until something is due. May be given up.
    async fn due(&mut self) -> Due {
        tokio::select! {
            () = news(&mut self.session) => Due::Look,
            _ = self.heartbeat.tick() => Due::Heartbeat,
            _ = self.check.tick() => Due::Check,
        }
    }

    async fn see_to(&mut self, due: Due) -> Result<(), End> {
        match due {
            Due::Look => self.look().await,
            Due::Check => self.check().await,
            // What was sent before is still on its way.
            Due::Heartbeat if !self.demand.is_wanted() => Ok(()),
            Due::Heartbeat => {
                if self.room() > 0 {
                    return self.beat(false).await;
                }
                // Nothing is read from the feed, so it says how far that has come.
                self.check_past().await?;
                self.beat(true).await
            }
        }
    }

    /// Checks that the feed still has, at the position of the stream, what was sent up
    /// to there, and what follows: a standby that has lost the last commits may have
    /// replaced the database, or the purge may have reached this position.
    async fn check_past(&mut self) -> Result<(), End> {
        let (db, product) = (self.feed.db().reader(), &self.listener.product);
        let found = standing(db, product, Spot::At(self.place.position)).await;
        let found = found?.ok_or_else(|| RecordError::from(not_connected(product.as_str())))?;
        let now = (found.epoch, &found.ends);
        let checked = self.seal.check_past(now, self.place.position, self.change, found.change);
        self.ends = found.ends;
        match checked {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.refused(reason).await),
        }
    }

    /// Ends the stream: it cannot continue from its position.
    async fn refused(&self, reason: ErrorReason) -> End {
        let refusal = opening::refusal(self.feed.db().reader(), &self.listener, reason).await;
        End::Failed(refusal.unwrap_or_else(|error| error))
    }

    /// Whether a batch begins at the position of the stream, in the feed that it has
    /// sent, and has no gaps.
    fn follows(&self, batch: &Batch) -> Result<(), ErrorReason> {
        let (epoch, position, change) = (batch.epoch, self.place.position, self.change);
        // What the stream has passed already is read before its place was.
        let at = batch.at(position).unwrap_or(Mark { position, change });
        self.seal.check_past((epoch, &batch.ends), position, change, at.change)?;
        if batch.is_torn() { Err(ErrorReason::CursorTooOld) } else { Ok(()) }
    }

    /// The practices whose changes the stream sends; empty for all.
    fn practices(&self) -> Vec<PracticeId> {
        let own = self.listener.practice.clone();
        own.map_or_else(|| self.filter.practices(), |own| vec![own])
    }

    /// Reads what comes after the place of the stream.
    fn read(&self) -> impl Future<Output = Result<Vec<Batch>, RecordError>> + use<> {
        let (db, after, practices) =
            (self.feed.db().clone(), self.place.position, self.practices());
        let (listener, filter) = (Arc::clone(&self.listener), Arc::clone(&self.filter));
        async move {
            let wanted = |row: &FeedRow| passes(&listener, &filter, row);
            tail::read(&db, &listener.product, after, &practices, wanted).await
        }
    }

    /// Reads the tables until there is nothing new, or the window is full.
    async fn catch_up(&mut self) -> Result<Sent, End> {
        'reading: loop {
            self.until_wanted().await?;
            let read = self.read();
            for batch in self.meanwhile(read).await?? {
                if !self.is_wanted_soon().await? {
                    continue 'reading;
                }
                if let Err(reason) = self.follows(&batch) {
                    return Err(self.refused(reason).await);
                }
                if self.send_batch(&batch).await? == Sent::Part {
                    return Ok(Sent::Part);
                }
            }
            if self.place.position >= self.ends.head {
                return Ok(Sent::All);
            }
        }
    }

    /// Takes what the tail hands out, until this stream has missed some.
    async fn follow(&mut self, mut batches: broadcast::Receiver<Batch>) -> Result<(), End> {
        loop {
            self.until_wanted().await?;
            let batch = match self.meanwhile(batches.recv()).await? {
                Ok(batch) => batch,
                Err(RecvError::Lagged(_)) => return Ok(()),
                Err(RecvError::Closed) => return Err(End::Closed(ClosingReason::Shutdown)),
            };
            if batch.after.position > self.place.position {
                return Ok(());
            }
            if self.follows(&batch).is_err() {
                // The tail may have read before this stream did: its feed is judged by
                // what the tables hold now.
                self.check_past().await?;
                return Ok(());
            }
            if self.send_batch(&batch).await? == Sent::Part {
                return Ok(());
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
        let (mut events, mut upto, mut sent) = (Vec::new(), batch.upto, Sent::All);
        let (mut delivered, mut room) = (self.delivered, self.room());
        let mut last = Mark { position: self.place.position, change: self.change };
        for item in batch.items.iter().filter(|item| item.row.position > self.place.position) {
            let passes = passes(&self.listener, &self.filter, &item.row);
            if passes && room == 0 {
                (upto, sent) = (last, Sent::Part);
                break;
            }
            last = Mark { position: item.row.position, change: Some(item.row.id) };
            if passes {
                events.push(self.event(item, delivered));
                (delivered, room) = (last.position, room - 1);
            }
        }
        if upto.position <= self.place.position {
            return Ok(sent);
        }
        let (place, change) = (Place::after(upto.position), upto.change);
        let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
        if !events.is_empty() {
            let cursor = self.cursor_at(place.clone(), change).encode();
            let position = upto.position;
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

    fn event(&self, item: &FeedItem, previous_position: i64) -> shared::wire::Event {
        let own = event::audible(&item.row).is_own(hearer(&self.listener));
        let marked = own && self.filter.echo == EchoMode::Mark;
        event::event(item, previous_position, own, marked)
    }

    /// Events that may be sent now.
    fn room(&self) -> usize {
        self.session.as_ref().map_or(usize::MAX, |session| session.window.room())
    }

    fn progress(&self) -> Progress {
        Progress { delivered: self.delivered, seen: self.place.position, change: self.change }
    }

    /// Whether this is still the newest stream of its subscription.
    async fn look(&mut self) -> Result<(), End> {
        let progress = self.progress();
        let Some(session) = &mut self.session else { return Ok(()) };
        let looked = session.look(progress).await;
        if !matches!(looked, Ok(Held::Kept)) {
            // In another history the subscription is another one, too.
            self.check_past().await?;
        }
        looked?;
        Ok(())
    }

    /// No feed contains the changes made while the product is disconnected: a stream
    /// must not continue as if nothing were missing. The same applies to changes that a
    /// database has lost.
    async fn check(&mut self) -> Result<(), End> {
        let connection = opening::connection(self.feed.db().reader(), &self.listener).await?;
        if connection.as_ref() != self.seal.connection() {
            return Err(self.refused(ErrorReason::CursorTooOld).await);
        }
        self.check_past().await
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

fn hearer(listener: &Listener) -> Hearer<'_> {
    let Listener { practice, product, account, .. } = listener;
    Hearer { practice: practice.as_ref(), product, account }
}

fn passes(listener: &Listener, filter: &Filter, row: &FeedRow) -> bool {
    filter.verdict(hearer(listener), &event::audible(row)) == Verdict::Sent
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
