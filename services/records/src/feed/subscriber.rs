//! One stream of a subscriber: snapshot, catch-up, then live changes.
//!
//! A stream sends the snapshot if one was requested, reads the tables from its position
//! until it has caught up with the tail, and then receives the batches of the tail. When
//! it falls behind, because its client reads slowly or does not acknowledge, it reads the
//! tables again. Flow control: a stream reads only what the transport has demand for, and
//! holds no change between two messages.

pub(crate) mod event;
mod snapshot;

use std::{pin::pin, sync::Arc, time::Duration};

use concord_core::caller::{PracticeId, Subscriber};
use concord_proto::pb::records::{
    Closing, ClosingReason, EchoMode, ErrorReason, Events, Handshake, Heartbeat, SubscribeResponse,
    subscribe_response::Message,
};
use concord_server::on_demand::{self, Demand, Gone, OnDemand};
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
    cursor::{Cursor, CursorSigner},
    opening::{self, OpenedStream, SubscribeCommand},
    session::{HistoryCheck, Progress, Session},
    tail::{self, Batch, FeedItem, Tail},
};
use crate::{
    domain::{
        feed_head::FeedEnds,
        filter::{Filter, Recipient, Verdict},
        resume_point::{ResumePoint, SnapshotPosition},
    },
    error::{RecordError, not_connected},
    store::feed::{FeedPoint, FeedRow, SeekTarget, seek},
};

/// Backoff after a transient error of the database.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Maximum time that a stream holds the changes that it has read for its next message.
/// After that it drops them, and reads the tables again once the transport has demand.
const READ_BUFFER_TTL: Duration = Duration::from_secs(1);

/// The messages of a stream, for the transport.
pub(crate) type Messages = OnDemand<Result<SubscribeResponse, Status>>;

/// The state of one open stream.
struct Stream {
    feed: Feed,
    subscriber: Arc<Subscriber>,
    filter: Arc<Filter>,
    out: mpsc::Sender<Result<SubscribeResponse, Status>>,
    /// The demand of the transport for the next message.
    demand: Demand,
    signer: CursorSigner,
    /// The resume point up to which every change was sent or filtered out, and the change
    /// at its position.
    resume_point: ResumePoint,
    change: Option<Uuid>,
    /// The position of the last event that was sent.
    delivered: i64,
    ends: FeedEnds,
    /// The session of the named subscription.
    session: Option<Session>,
    heartbeat: Interval,
    /// The timer of the connection and history check.
    check: Interval,
}

/// The periodic tasks of a stream.
#[derive(Clone, Copy, Debug)]
enum PeriodicTask {
    Poll,
    Heartbeat,
    Check,
}

/// Why a stream ends.
enum End {
    /// The client has disconnected.
    Disconnected,
    Closed(ClosingReason),
    Failed(RecordError),
}

impl From<RecordError> for End {
    fn from(error: RecordError) -> Self {
        Self::Failed(error)
    }
}

/// How much of a batch was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    /// The window was full before the end of the batch.
    Part,
}

/// Opens a stream, which ends at `closes_at` at the latest.
///
/// # Errors
///
/// As [`opening::open`].
pub(crate) async fn open(
    feed: &Feed,
    subscriber: Subscriber,
    command: SubscribeCommand,
    closes_at: Option<Instant>,
) -> Result<Messages, RecordError> {
    let OpenedStream { signer, feed_head, resume_point, session } =
        opening::open(feed, &subscriber, &command).await?;
    let (out, demand, messages) = on_demand::channel();
    let every = |time| {
        let mut interval = tokio::time::interval(time);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.reset();
        interval
    };
    let intervals = feed.intervals();
    let stream = Stream {
        feed: feed.clone(),
        subscriber: Arc::new(subscriber),
        filter: Arc::new(command.filter),
        out,
        demand,
        signer,
        delivered: resume_point.position,
        resume_point,
        change: feed_head.change,
        ends: feed_head.ends,
        session,
        heartbeat: every(intervals.heartbeat),
        check: every(intervals.check),
    };
    tokio::spawn(stream.run(closes_at).in_current_span());
    Ok(messages)
}

impl Stream {
    async fn run(mut self, closes_at: Option<Instant>) {
        let stop = self.feed.stop().clone();
        // The handshake is the first message, even of a stream that ends immediately. The
        // channel has capacity for it.
        let handshake = message(Message::Handshake(self.handshake()));
        let _ = self.out.try_send(Ok(handshake));
        let end = tokio::select! {
            end = self.send_all() => end,
            () = stop.cancelled() => End::Closed(ClosingReason::Shutdown),
            () = sleep_until(closes_at) => End::Closed(ClosingReason::ConnectionAge),
        };
        let last = match end {
            End::Disconnected => None,
            End::Closed(reason) => {
                let closing = Closing { reason: reason.into(), cursor: self.cursor() };
                Some(Ok(message(Message::Closing(closing))))
            }
            End::Failed(error) => Some(Err(error.into())),
        };
        let (progress, session) = (self.progress(), self.session.take());
        let store_progress = async {
            if let Some(session) = session {
                session.end(progress).await;
            }
        };
        let send_last = async {
            if let Some(last) = last {
                // The client may not read. Then the server's drain, or the end of the
                // connection, ends this wait.
                let _ = self.out.send(last).await;
            }
        };
        tokio::join!(store_progress, send_last);
    }

    async fn send_all(&mut self) -> End {
        let Err(end) = self.send_loop().await;
        end
    }

    async fn send_loop(&mut self) -> Result<std::convert::Infallible, End> {
        self.heartbeat.reset();
        self.send_snapshot().await?;
        let tail = self.feed.tail(&self.subscriber.product);
        loop {
            match self.send_changes(&tail).await {
                Err(End::Failed(error)) if error.is_transient() => self.back_off(&error).await?,
                sent => sent?,
            }
        }
    }

    /// Sends changes until this stream has to read the tables again.
    async fn send_changes(&mut self, tail: &Tail) -> Result<(), End> {
        self.wait_for_room().await?;
        // Subscribed before the tables are read, so that no batch is missed in between.
        let batches = tail.subscribe();
        if self.catch_up().await? == Sent::All {
            self.follow(batches).await?;
        }
        Ok(())
    }

    /// Backs off after a transient error of the database. The stream then resumes after
    /// its position.
    async fn back_off(&mut self, error: &RecordError) -> Result<(), End> {
        tracing::debug!(%error, "the database is unavailable; the stream backs off");
        tokio::select! {
            () = tokio::time::sleep(RETRY_DELAY) => Ok(()),
            _ = self.heartbeat.tick() => self.send_heartbeat(false).await,
            () = self.out.closed() => Err(End::Disconnected),
        }
    }

    fn handshake(&self) -> Handshake {
        let snapshot = self.resume_point.snapshot.as_ref();
        Handshake {
            cursor: self.cursor(),
            position: self.resume_point.position,
            head_position: self.ends.head,
            product: self.subscriber.product.to_string(),
            subscription: self.session.as_ref().map(Session::name).unwrap_or_default().to_owned(),
            snapshot: snapshot.is_some(),
            snapshot_resumed: snapshot
                .is_some_and(|snapshot| *snapshot != SnapshotPosition::start()),
        }
    }

    /// Waits until the transport has demand for a message, so that nothing is read for a
    /// client that does not read (backpressure).
    async fn wait_for_demand(&mut self) -> Result<(), End> {
        self.wait_for_demand_until(None).await.map(drop)
    }

    /// Waits for demand for at most [`READ_BUFFER_TTL`]. Returns false on the timeout.
    async fn has_demand_soon(&mut self) -> Result<bool, End> {
        self.wait_for_demand_until(Some(Instant::now() + READ_BUFFER_TTL)).await
    }

    async fn wait_for_demand_until(&mut self, until: Option<Instant>) -> Result<bool, End> {
        let mut demand = self.demand.clone();
        loop {
            tokio::select! {
                requested = demand.requested() => {
                    return requested.map(|()| true).map_err(|Gone| End::Disconnected);
                }
                () = sleep_until(until) => return Ok(false),
                () = wait_for_wake(&mut self.session) => self.poll().await?,
            }
        }
    }

    /// Waits until the window of unacknowledged events has room (flow control).
    async fn wait_for_room(&mut self) -> Result<(), End> {
        let out = self.out.clone();
        while self.room() == 0 {
            tokio::select! {
                task = self.next_task() => self.run_task(task).await?,
                () = out.closed() => return Err(End::Disconnected),
            }
        }
        Ok(())
    }

    /// Awaits a read of the database and runs the periodic tasks meanwhile. The read is
    /// cancelled when the stream ends.
    async fn with_periodic_tasks<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let (out, mut work) = (self.out.clone(), pin!(work));
        loop {
            let task = tokio::select! {
                // Tasks first: work that is always ready would starve them.
                biased;
                () = out.closed() => return Err(End::Disconnected),
                task = self.next_task() => task,
                done = &mut work => return Ok(done),
            };
            // The work continues during the task: it may hold the database connection
            // that the task waits for.
            let (mut done, mut task_run) = (None, pin!(self.run_task(task)));
            loop {
                tokio::select! {
                    ended = &mut task_run => break ended?,
                    result = &mut work, if done.is_none() => done = Some(result),
                }
            }
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Waits until a periodic task is due. Cancel safe.
    async fn next_task(&mut self) -> PeriodicTask {
        tokio::select! {
            () = wait_for_wake(&mut self.session) => PeriodicTask::Poll,
            _ = self.heartbeat.tick() => PeriodicTask::Heartbeat,
            _ = self.check.tick() => PeriodicTask::Check,
        }
    }

    async fn run_task(&mut self, task: PeriodicTask) -> Result<(), End> {
        match task {
            PeriodicTask::Poll => self.poll().await,
            PeriodicTask::Check => self.check().await,
            // The transport has not taken the previous message yet.
            PeriodicTask::Heartbeat if !self.demand.is_requested() => Ok(()),
            PeriodicTask::Heartbeat => {
                if self.room() > 0 {
                    return self.send_heartbeat(false).await;
                }
                // The stream reads nothing from the feed, so update the head first.
                self.check_history().await?;
                self.send_heartbeat(true).await
            }
        }
    }

    /// Checks that the feed still has the change that was sent at the stream's position,
    /// and retains what follows. A standby that lost the last commits may have replaced
    /// the database, or the purge may have reached this position.
    async fn check_history(&mut self) -> Result<(), End> {
        let (db, product) = (self.feed.db().reader(), &self.subscriber.product);
        let found = seek(db, product, SeekTarget::At(self.resume_point.position)).await;
        let found = found?.ok_or_else(|| RecordError::from(not_connected(product.as_str())))?;
        let now = (found.epoch, &found.ends);
        let checked =
            self.signer.check_history(now, self.resume_point.position, self.change, found.change);
        self.ends = found.ends;
        match checked {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.cursor_error(reason).await),
        }
    }

    /// The end of a stream that cannot continue from its position.
    async fn cursor_error(&self, reason: ErrorReason) -> End {
        let error = opening::cursor_error(self.feed.db().reader(), &self.subscriber, reason).await;
        End::Failed(error.unwrap_or_else(|error| error))
    }

    /// Checks that a batch continues the stream: it contains the stream's position, has
    /// the same history, and has no gap.
    fn check_continuity(&self, batch: &Batch) -> Result<(), ErrorReason> {
        let (epoch, position, change) = (batch.epoch, self.resume_point.position, self.change);
        // Not in the batch: the batch was read before the stream reached its position.
        let at = batch.at(position).unwrap_or(FeedPoint { position, change });
        self.signer.check_history((epoch, &batch.ends), position, change, at.change)?;
        if batch.has_gap() { Err(ErrorReason::CursorTooOld) } else { Ok(()) }
    }

    /// The practices whose changes the stream sends; empty for all.
    fn practices(&self) -> Vec<PracticeId> {
        let own = self.subscriber.practice.clone();
        own.map_or_else(|| self.filter.practices(), |own| vec![own])
    }

    /// Reads the changes after the stream's position.
    fn read(&self) -> impl Future<Output = Result<Vec<Batch>, RecordError>> + use<> {
        let (db, after, practices) =
            (self.feed.db().clone(), self.resume_point.position, self.practices());
        let (subscriber, filter) = (Arc::clone(&self.subscriber), Arc::clone(&self.filter));
        async move {
            let with_images = |row: &FeedRow| matches_filter(&subscriber, &filter, row);
            tail::read(&db, &subscriber.product, after, &practices, with_images).await
        }
    }

    /// Reads and sends changes from the tables until the head, or until the window is
    /// full.
    async fn catch_up(&mut self) -> Result<Sent, End> {
        'reading: loop {
            self.wait_for_demand().await?;
            let read = self.read();
            for batch in self.with_periodic_tasks(read).await?? {
                if !self.has_demand_soon().await? {
                    continue 'reading;
                }
                if let Err(reason) = self.check_continuity(&batch) {
                    return Err(self.cursor_error(reason).await);
                }
                if self.send_batch(&batch).await? == Sent::Part {
                    return Ok(Sent::Part);
                }
            }
            if self.resume_point.position >= self.ends.head {
                return Ok(Sent::All);
            }
        }
    }

    /// Sends the batches of the tail until the stream has missed one.
    async fn follow(&mut self, mut batches: broadcast::Receiver<Batch>) -> Result<(), End> {
        loop {
            self.wait_for_demand().await?;
            let batch = match self.with_periodic_tasks(batches.recv()).await? {
                Ok(batch) => batch,
                Err(RecvError::Lagged(_)) => return Ok(()),
                Err(RecvError::Closed) => return Err(End::Closed(ClosingReason::Shutdown)),
            };
            if batch.after.position > self.resume_point.position {
                return Ok(());
            }
            if self.check_continuity(&batch).is_err() {
                // The tail may have read before this stream did, so check against the
                // tables.
                self.check_history().await?;
                return Ok(());
            }
            if self.send_batch(&batch).await? == Sent::Part {
                return Ok(());
            }
        }
    }

    /// Sends the new changes of `batch` that match the filter, as many as the window has
    /// room for.
    ///
    /// The resume point advances after the transport has taken the message: a stream that
    /// is stopped while it waits must not report the message as sent.
    async fn send_batch(&mut self, batch: &Batch) -> Result<Sent, End> {
        self.ends = batch.ends.clone();
        let (mut events, mut upto, mut sent) = (Vec::new(), batch.upto, Sent::All);
        let (mut delivered, mut room) = (self.delivered, self.room());
        let mut last = FeedPoint { position: self.resume_point.position, change: self.change };
        for item in batch.items.iter().filter(|item| item.row.position > self.resume_point.position)
        {
            let matches = matches_filter(&self.subscriber, &self.filter, &item.row);
            if matches && room == 0 {
                (upto, sent) = (last, Sent::Part);
                break;
            }
            last = FeedPoint { position: item.row.position, change: Some(item.row.id) };
            if matches {
                events.push(self.event(item, delivered));
                (delivered, room) = (last.position, room - 1);
            }
        }
        if upto.position <= self.resume_point.position {
            return Ok(sent);
        }
        let (resume_point, change) = (ResumePoint::after(upto.position), upto.change);
        let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
        if !events.is_empty() {
            let cursor = self.cursor_at(resume_point.clone(), change).encode();
            let position = upto.position;
            self.send(Message::Events(Events { events, cursor, position })).await?;
        }
        (self.resume_point, self.change, self.delivered) = (resume_point, change, delivered);
        let progress = self.progress();
        if let Some(session) = &mut self.session {
            for position in positions {
                session.window.sent(position);
            }
            session.advance(progress);
        }
        Ok(sent)
    }

    fn event(&self, item: &FeedItem, previous_position: i64) -> concord_proto::wire::Event {
        let own = event::change_attributes(&item.row).is_own(recipient(&self.subscriber));
        let marked = own && self.filter.echo == EchoMode::Mark;
        event::event(item, previous_position, own, marked)
    }

    /// The number of events that the window has room for.
    fn room(&self) -> usize {
        self.session.as_ref().map_or(usize::MAX, |session| session.window.room())
    }

    fn progress(&self) -> Progress {
        Progress {
            delivered: self.delivered,
            seen: self.resume_point.position,
            change: self.change,
        }
    }

    /// Polls the subscription. Ends a stream that is no longer the newest of it.
    async fn poll(&mut self) -> Result<(), End> {
        let progress = self.progress();
        let Some(session) = &mut self.session else { return Ok(()) };
        let polled = session.poll(progress).await;
        if !matches!(polled, Ok(HistoryCheck::Same)) {
            // The history first: another history may have another subscription.
            self.check_history().await?;
        }
        polled?;
        Ok(())
    }

    /// Checks the connection and the history. No feed contains the changes made while the
    /// product is disconnected, nor the changes that a database has lost, so a stream must
    /// not continue after either.
    async fn check(&mut self) -> Result<(), End> {
        let connection = opening::connection(self.feed.db().reader(), &self.subscriber).await?;
        if connection.as_ref() != self.signer.connection() {
            return Err(self.cursor_error(ErrorReason::CursorTooOld).await);
        }
        self.check_history().await
    }

    /// Sends a heartbeat with the stream's position.
    async fn send_heartbeat(&mut self, waiting_for_acknowledgement: bool) -> Result<(), End> {
        self.send(Message::Heartbeat(Heartbeat {
            cursor: self.cursor(),
            position: self.resume_point.position,
            head_position: self.ends.head.max(self.resume_point.position),
            waiting_for_acknowledgement,
        }))
        .await
    }

    /// The encoded cursor to resume after.
    fn cursor(&self) -> String {
        self.cursor_at(self.resume_point.clone(), self.change).encode()
    }

    fn cursor_at(&self, resume_point: ResumePoint, change: Option<Uuid>) -> Cursor {
        let subscription = self.session.as_ref().map_or(Uuid::nil(), Session::id);
        self.signer.cursor(resume_point, subscription, change)
    }

    /// Sends a message once the transport has capacity. Polls the subscription while it
    /// waits.
    async fn send(&mut self, what: Message) -> Result<(), End> {
        let out = self.out.clone();
        let permit = loop {
            tokio::select! {
                permit = out.reserve() => break permit.map_err(|_| End::Disconnected)?,
                () = wait_for_wake(&mut self.session) => self.poll().await?,
            }
        };
        permit.send(Ok(message(what)));
        self.heartbeat.reset();
        Ok(())
    }
}

fn recipient(subscriber: &Subscriber) -> Recipient<'_> {
    let Subscriber { practice, product, account, .. } = subscriber;
    Recipient { practice: practice.as_ref(), product, account }
}

fn matches_filter(subscriber: &Subscriber, filter: &Filter, row: &FeedRow) -> bool {
    filter.verdict(recipient(subscriber), &event::change_attributes(row)) == Verdict::Sent
}

/// Waits until it is time to poll the subscription; forever without one.
async fn wait_for_wake(session: &mut Option<Session>) {
    match session {
        Some(session) => session.wait_for_wake().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
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
