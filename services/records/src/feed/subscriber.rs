//! One stream of a subscriber.
//!
//! It reads the tables from its position on until it has caught up with the
//! tail, and then takes what the tail hands out. When it falls behind, because
//! its reader is slow, it goes back to the tables: between two messages it
//! holds nothing.

use std::time::Duration;

use shared::{
    caller::{Listener, PracticeId},
    ids::{self, IdKind},
    pb::records::{
        Closing, ClosingReason, EchoMode, ErrorReason, Events, Handshake, Heartbeat, Origin,
        RecordKind, StartFrom, SubscribeResponse, subscribe_response::Message,
    },
    status::Refusal,
    wire::Event,
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::{Interval, MissedTickBehavior},
};
use tonic::Status;
use uuid::Uuid;

use super::{
    Feed,
    cursor::{Cursor, refused},
    tail::{self, Batch, FeedItem},
};
use crate::{
    error::{RecordError, not_connected},
    image::timestamp,
    store::{self, feed::FeedEnds},
};

/// A stream that has nothing to say says so this often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Messages that wait for the transport. With the tail's batches, the bound on
/// the memory of a stream whose reader is slow.
const WAITING_MESSAGES: usize = 1;

/// Where a stream begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Earliest,
    Now,
    After(Cursor),
}

impl Start {
    /// What the request asks for.
    pub(crate) fn parse(start_from: i32, cursor: &str) -> Result<Self, Refusal> {
        let start_from = StartFrom::try_from(start_from).map_err(|_| {
            let text = "is not known; use EARLIEST or NOW";
            Refusal::invalid_field("start_from", ErrorReason::UnknownValue, text)
        })?;
        match (start_from, cursor) {
            (StartFrom::Now, "") => Ok(Self::Now),
            (_, "") => Ok(Self::Earliest),
            (StartFrom::Unspecified, cursor) => {
                // One that cannot be read is refused with the ends of the feed,
                // as one of another database is.
                let none = Cursor::new(&nobody(), Uuid::nil(), 0, None);
                Ok(Self::After(Cursor::decode(cursor).unwrap_or(none)))
            }
            (_, _) => Err(Refusal::invalid_field(
                "cursor",
                ErrorReason::FieldNotApplicable,
                "give either a cursor or start_from",
            )),
        }
    }
}

#[expect(clippy::expect_used, reason = "a literal that is a product")]
fn nobody() -> shared::caller::Product {
    "nobody".parse().expect("a product")
}

/// What a stream leaves out.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) echo: EchoMode,
    /// All when it is empty.
    pub(crate) kinds: Vec<RecordKind>,
    pub(crate) linked_only: bool,
}

/// What is sent to the transport.
pub(crate) type Messages = mpsc::Receiver<Result<SubscribeResponse, Status>>;

/// One stream, while it lives.
struct Stream {
    feed: Feed,
    listener: Listener,
    filter: Filter,
    out: mpsc::Sender<Result<SubscribeResponse, Status>>,
    /// The position up to which every change was sent or left out, and the
    /// change there.
    position: i64,
    change: Option<Uuid>,
    /// The position of the event that was sent last.
    delivered: i64,
    ends: FeedEnds,
    heartbeat: Interval,
}

/// The reader has gone away.
struct Gone;

/// Why a stream ends.
enum End {
    Gone,
    Stopped,
    Failed(RecordError),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<RecordError> for End {
    fn from(error: RecordError) -> Self {
        Self::Failed(error)
    }
}

/// Opens a stream.
///
/// # Errors
///
/// `OUT_OF_RANGE` when the cursor cannot be gone on from, `FAILED_PRECONDITION`
/// when the product is not connected.
pub(crate) async fn open(
    feed: &Feed,
    listener: Listener,
    start: Start,
    filter: Filter,
) -> Result<Messages, RecordError> {
    let db = feed.db().reader();
    if let Some(practice) = &listener.practice
        && !store::connections::is_connected(db, practice, &listener.product).await?
    {
        return Err(not_connected(listener.product.as_str()).into());
    }
    let ends = store::feed::ends(db, &listener.product).await?;
    let ends = ends.ok_or_else(|| not_connected(listener.product.as_str()))?;
    let (position, change) = begin(feed, &listener, &start, &ends).await?;
    let (out, messages) = mpsc::channel(WAITING_MESSAGES);
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Stream {
        feed: feed.clone(),
        listener,
        filter,
        out,
        position,
        change,
        delivered: position,
        ends,
        heartbeat,
    };
    tokio::spawn(stream.run());
    Ok(messages)
}

/// The position that the stream begins after, and the change there.
async fn begin(
    feed: &Feed,
    listener: &Listener,
    start: &Start,
    ends: &FeedEnds,
) -> Result<(i64, Option<Uuid>), RecordError> {
    let (db, product) = (feed.db().reader(), &listener.product);
    let position = match start {
        Start::Earliest => ends.floor - 1,
        Start::Now => ends.head,
        Start::After(cursor) => cursor.position,
    };
    let change = store::feed::change_at(db, product, position).await?;
    if let Start::After(cursor) = start
        && let Err(reason) = cursor.check(product, ends, change)
    {
        let at = async |position| {
            let change = store::feed::change_at(db, product, position).await?;
            Ok::<_, RecordError>(Cursor::new(product, ends.epoch, position, change))
        };
        return Err(refused(reason, &at(ends.floor - 1).await?, &at(ends.head).await?).into());
    }
    Ok((position, change))
}

impl Stream {
    async fn run(mut self) {
        let stop = self.feed.stop().clone();
        let end = tokio::select! {
            end = self.send_all() => end,
            () = stop.cancelled() => End::Stopped,
        };
        let last = match end {
            End::Gone => return,
            End::Stopped => Ok(message(Message::Closing(Closing {
                reason: ClosingReason::Shutdown.into(),
                cursor: self.cursor(),
            }))),
            End::Failed(error) => Err(error.into()),
        };
        // The reader may have gone away too.
        let _ = self.out.send(last).await;
    }

    async fn send_all(&mut self) -> End {
        let outcome: Result<(), End> = async {
            self.heartbeat.reset();
            self.send(Message::Handshake(Handshake {
                cursor: self.cursor(),
                position: self.position,
                head_position: self.ends.head,
                product: self.listener.product.to_string(),
            }))
            .await?;
            let tail = self.feed.tail(&self.listener.product);
            loop {
                // Before the tables are read, or a batch could slip between.
                let batches = tail.subscribe();
                self.catch_up().await?;
                self.follow(batches).await?;
            }
        }
        .await;
        outcome.err().unwrap_or(End::Stopped)
    }

    /// Reads the tables until there is nothing new.
    async fn catch_up(&mut self) -> Result<(), End> {
        loop {
            let feed = self.feed.clone();
            let batches = tail::read(feed.db(), &self.listener.product, self.position).await?;
            let mut moved = false;
            for batch in batches {
                moved |= !batch.items.is_empty();
                self.send_batch(&batch).await?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Takes what the tail hands out, until this stream has missed some.
    async fn follow(&mut self, mut batches: broadcast::Receiver<Batch>) -> Result<(), End> {
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Ok(batch) if batch.after > self.position => return Ok(()),
                    Ok(batch) => self.send_batch(&batch).await?,
                    Err(RecvError::Lagged(_)) => return Ok(()),
                    Err(RecvError::Closed) => return Err(End::Stopped),
                },
                _ = self.heartbeat.tick() => {
                    self.send(Message::Heartbeat(Heartbeat {
                        cursor: self.cursor(),
                        position: self.position,
                        head_position: self.ends.head.max(self.position),
                    }))
                    .await?;
                }
                () = self.out.closed() => return Err(End::Gone),
            }
        }
    }

    /// Sends what is new in `batch` and passes the filter.
    ///
    /// The position moves after the message was taken: a stream that is stopped
    /// while it waits must not say that it sent it.
    async fn send_batch(&mut self, batch: &Batch) -> Result<(), End> {
        self.ends = batch.ends.clone();
        self.check_contiguous(batch)?;
        let new = batch.items.iter().filter(|item| item.row.position > self.position);
        let Some(last) = new.clone().last() else { return Ok(()) };
        let mut delivered = self.delivered;
        let mut events = Vec::new();
        for item in new.filter(|item| self.passes(item)) {
            events.push(self.event(item, delivered));
            delivered = item.row.position;
        }
        let (position, change) = (last.row.position, Some(last.row.id));
        if !events.is_empty() {
            let cursor = self.cursor_at(position, change).encode();
            self.send(Message::Events(Events { events, cursor })).await?;
        }
        (self.position, self.change, self.delivered) = (position, change, delivered);
        Ok(())
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
        let earliest = self.cursor_at(batch.ends.floor - 1, None);
        let latest = self.cursor_at(self.position, self.change);
        let refusal = refused(ErrorReason::CursorTooOld, &earliest, &latest);
        Err(End::Failed(refusal.into()))
    }

    fn passes(&self, item: &FeedItem) -> bool {
        let row = &item.row;
        let practice = self.listener.practice.as_ref().map(PracticeId::as_str);
        let kinds = &self.filter.kinds;
        let of_kind = |record: &crate::domain::record::RecordRef| kinds.contains(&record.kind);
        practice.is_none_or(|practice| practice == row.practice)
            && (kinds.is_empty() || of_kind(&row.record) || row.companions.iter().any(of_kind))
            && (!self.filter.linked_only || row.linked)
            && (self.filter.echo != EchoMode::Suppress || !self.is_own(item))
    }

    /// Whether the change was made by the same account of the same product.
    fn is_own(&self, item: &FeedItem) -> bool {
        item.row.origin_product == self.listener.product.as_str()
            && item.row.origin_account == self.listener.account.as_str()
    }

    fn event(&self, item: &FeedItem, previous_position: i64) -> Event {
        let own = self.is_own(item);
        let mut event = to_event(item, previous_position, own);
        if own && self.filter.echo == EchoMode::Mark {
            (event.client, event.person) = (None, None);
            event.contacts.clear();
        }
        event
    }

    /// The cursor to resume with.
    fn cursor(&self) -> String {
        self.cursor_at(self.position, self.change).encode()
    }

    fn cursor_at(&self, position: i64, change: Option<Uuid>) -> Cursor {
        Cursor::new(&self.listener.product, self.ends.epoch, position, change)
    }

    async fn send(&mut self, what: Message) -> Result<(), Gone> {
        self.out.send(Ok(message(what))).await.map_err(|_| Gone)?;
        self.heartbeat.reset();
        Ok(())
    }
}

fn message(message: Message) -> SubscribeResponse {
    SubscribeResponse { message: Some(message) }
}

fn to_event(item: &FeedItem, previous_position: i64, own: bool) -> Event {
    let row = &item.row;
    let small = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
    Event {
        position: row.position,
        previous_position,
        change_id: ids::text(IdKind::Change, row.id),
        practice_id: row.practice.clone(),
        record_kind: row.record.kind.into(),
        record_id: row.record.text(),
        record_version: row.version,
        kind: row.kind.into(),
        changed_fields: row.changed_fields.clone(),
        entry_id: row.entry_id.map(|id| ids::text(IdKind::Entry, id)).unwrap_or_default(),
        origin: Some(Origin {
            product: row.origin_product.clone(),
            account: row.origin_account.clone(),
            user: row.origin_user.clone(),
            import_id: row.import_id.map(|id| ids::text(IdKind::Import, id)).unwrap_or_default(),
        }),
        linked: row.linked,
        own,
        transaction_id: ids::text(IdKind::Transaction, row.transaction_id),
        transaction_index: small(row.transaction_index),
        transaction_count: small(row.transaction_count),
        change_time: Some(timestamp(row.changed_at)),
        client: item.client.clone(),
        person: item.person.clone(),
        contacts: item.contacts.clone(),
    }
}
