//! The reader of a product's new positions, one in a replica.
//!
//! It reads each new change and its images once, and hands them to every
//! subscriber that has caught up. One that has not reads the tables by itself
//! until it has: it costs the others nothing, and holds no memory for long.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use shared::{caller::Product, db::Database, pb::records::RecordKind};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    domain::record::RecordRef,
    error::RecordError,
    store::{
        self,
        feed::{FeedEnds, FeedRow, Spot},
    },
};

/// At most this many changes are read, and sent, at once.
pub(crate) const BATCH_EVENTS: i64 = 500;

/// At most this many bytes of images are sent at once, unless one change alone
/// has more.
pub(crate) const BATCH_BYTES: usize = 1_024 * 1_024;

/// Batches that wait for the slowest of the caught-up subscribers: with
/// [`BATCH_BYTES`], the bound on what a product's tail holds.
const WAITING_BATCHES: usize = 6;

/// How often the tail looks by itself, in case it was not told.
const POLL: Duration = Duration::from_secs(1);

/// A change with the images that go with it.
#[derive(Clone, Debug)]
pub(crate) struct FeedItem {
    pub(crate) row: FeedRow,
    pub(crate) client: Option<Bytes>,
    pub(crate) person: Option<Bytes>,
    pub(crate) contacts: Vec<Bytes>,
}

impl FeedItem {
    /// About what it takes on the wire.
    fn size(&self) -> usize {
        let images = self.client.iter().chain(&self.person).chain(&self.contacts);
        images.map(Bytes::len).sum::<usize>() + 300
    }
}

/// Changes at consecutive positions.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The position before the first change.
    pub(crate) after: i64,
    pub(crate) items: Arc<[FeedItem]>,
    pub(crate) ends: FeedEnds,
}

/// The reader, and whom it hands its batches to.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: broadcast::Sender<Batch>,
    stop: CancellationToken,
}

impl Tail {
    /// Starts a reader. It stops when the last holder lets it go, or with
    /// `stop`.
    pub(crate) fn start(
        db: Database,
        product: Product,
        sequenced: watch::Receiver<()>,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let (batches, _) = broadcast::channel(WAITING_BATCHES);
        let stop = stop.child_token();
        tokio::spawn(run(db, product, sequenced, batches.clone(), stop.clone()));
        Arc::new(Self { batches, stop })
    }

    /// Every batch that is read from now on; a receiver that falls behind is
    /// told so.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Batch> {
        self.batches.subscribe()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn run(
    db: Database,
    product: Product,
    mut sequenced: watch::Receiver<()>,
    batches: broadcast::Sender<Batch>,
    stop: CancellationToken,
) {
    let mut position = None;
    loop {
        sequenced.mark_unchanged();
        match advance(&db, &product, &mut position, &batches).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the tail of a feed could not be read; trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // The sender is of the feed, which outlives its tails.
            _ = sequenced.changed() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Reads and hands out what is new; whether there may be more.
async fn advance(
    db: &Database,
    product: &Product,
    position: &mut Option<i64>,
    batches: &broadcast::Sender<Batch>,
) -> Result<bool, RecordError> {
    let Some(after) = *position else {
        // It begins with what comes next: subscribers read the past themselves.
        let standing = store::feed::standing(db.reader(), product, Spot::Newest).await?;
        let Some(ends) = standing.map(|standing| standing.ends) else { return Ok(false) };
        *position = Some(ends.head);
        // Tells those who read the tables before this that there may be more.
        let _ = batches.send(Batch { after: ends.head, items: Arc::default(), ends });
        return Ok(true);
    };
    let read = read(db, product, after).await?;
    let count = read.iter().map(|batch| batch.items.len()).sum::<usize>();
    for batch in read {
        *position = batch.items.last().map(|item| item.row.position).or(*position);
        // Nobody may be listening just now.
        let _ = batches.send(batch);
    }
    Ok(count > 0)
}

/// The changes after a position with their images, in batches of bounded size;
/// at least one batch, which is empty when there is nothing new.
pub(crate) async fn read(
    db: &Database,
    product: &Product,
    after: i64,
) -> Result<Vec<Batch>, RecordError> {
    let (ends, rows) = store::feed::read(db.reader(), product, after, BATCH_EVENTS).await?;
    let items = with_images(db, rows).await?;
    Ok(split(after, items, &ends))
}

fn split(after: i64, items: Vec<FeedItem>, ends: &FeedEnds) -> Vec<Batch> {
    let (mut batches, mut batch, mut bytes, mut after) = (Vec::new(), Vec::new(), 0, after);
    let close = |items: Vec<FeedItem>, after: &mut i64| {
        let batch = Batch { after: *after, items: items.into(), ends: ends.clone() };
        *after = batch.items.last().map_or(*after, |item| item.row.position);
        batch
    };
    for item in items {
        if bytes > 0 && bytes + item.size() > BATCH_BYTES {
            batches.push(close(std::mem::take(&mut batch), &mut after));
            bytes = 0;
        }
        bytes += item.size();
        batch.push(item);
    }
    if !batch.is_empty() || batches.is_empty() {
        batches.push(close(batch, &mut after));
    }
    batches
}

async fn with_images(db: &Database, rows: Vec<FeedRow>) -> Result<Vec<FeedItem>, RecordError> {
    let mut records: HashMap<String, Vec<RecordRef>> = HashMap::new();
    let mut seen: HashSet<RecordRef> = HashSet::new();
    for row in &rows {
        let of_row = std::iter::once(&row.record).chain(&row.companions);
        let new = of_row.copied().filter(|record| seen.insert(*record));
        records.entry(row.practice.clone()).or_default().extend(new);
    }
    let images = store::images::get_of_practices(db.reader(), &records).await?;
    let image = |id: &Uuid| images.get(id).cloned();
    Ok(rows.into_iter().map(|row| item(row, image)).collect())
}

fn item(row: FeedRow, image: impl Fn(&Uuid) -> Option<Bytes>) -> FeedItem {
    let (mut client, mut person, mut contacts) = (None, None, Vec::new());
    for record in std::iter::once(&row.record).chain(&row.companions) {
        match record.kind {
            RecordKind::Client => client = image(&record.id),
            RecordKind::Person => person = image(&record.id),
            RecordKind::Contact => contacts.extend(image(&record.id)),
            RecordKind::Unspecified => {}
        }
    }
    FeedItem { row, client, person, contacts }
}
