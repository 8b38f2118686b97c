//! The tail of a product's feed: one reader of new positions in a replica.
//!
//! It reads each new change and its images once, and broadcasts them to all subscribers
//! that have caught up. A subscriber that has not caught up reads the tables itself, so
//! a slow subscriber neither delays the others nor holds memory.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use concord_core::caller::{PracticeId, Product};
use concord_db::Database;
use concord_proto::pb::records::RecordKind;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    domain::{feed_head::FeedEnds, record::RecordRef},
    error::{RecordError, not_connected},
    store::{
        self,
        feed::{FeedPage, FeedPoint, FeedRow, SeekTarget},
    },
};

/// Maximum number of changes in one read and in one message.
pub(crate) const BATCH_EVENTS: usize = 500;

/// Maximum size of the images in one message, in bytes. A single change may exceed it.
pub(crate) const BATCH_BYTES: usize = 1_024 * 1_024;

/// Capacity of the broadcast channel, in batches. With [`BATCH_BYTES`] it bounds the
/// memory of a product's tail.
const CHANNEL_BATCHES: usize = 6;

/// Interval between polls, in case a wake-up was lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A change with the images of its record and of its companions.
#[derive(Clone, Debug)]
pub(crate) struct FeedItem {
    pub(crate) row: FeedRow,
    pub(crate) client: Option<Bytes>,
    pub(crate) person: Option<Bytes>,
    pub(crate) contacts: Vec<Bytes>,
}

impl FeedItem {
    /// The approximate size on the wire, in bytes.
    fn size(&self) -> usize {
        let images = self.client.iter().chain(&self.person).chain(&self.contacts);
        images.map(Bytes::len).sum::<usize>() + 300
    }
}

/// Consecutive changes of a feed, or of some practices of a feed.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: Uuid,
    pub(crate) ends: FeedEnds,
    /// The position that the batch follows.
    pub(crate) after: FeedPoint,
    pub(crate) items: Arc<[FeedItem]>,
    /// The batch is complete up to this position.
    pub(crate) upto: FeedPoint,
    /// True if the batch contains every position: it was read for all practices.
    pub(crate) is_dense: bool,
}

impl Batch {
    /// The change at a position; `None` if the position is not in this batch.
    pub(crate) fn at(&self, position: i64) -> Option<FeedPoint> {
        let of_item =
            |item: &FeedItem| FeedPoint { position: item.row.position, change: Some(item.row.id) };
        let mut points = [self.after, self.upto].into_iter().chain(self.items.iter().map(of_item));
        points.find(|point| point.position == position)
    }

    /// True if a position of a dense batch is missing.
    pub(crate) fn has_gap(&self) -> bool {
        let first = self.items.first().map(|item| item.row.position);
        self.is_dense
            && first.map_or(self.after.position < self.ends.head, |first| {
                first != self.after.position + 1
            })
    }
}

/// The handle of the reader. Dropping it stops the reader.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: broadcast::Sender<Batch>,
    stop: CancellationToken,
}

impl Tail {
    /// Starts a reader. It stops when the last handle is dropped, or with `stop`.
    pub(crate) fn start(
        db: Database,
        product: Product,
        sequenced: watch::Receiver<()>,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let (batches, _) = broadcast::channel(CHANNEL_BATCHES);
        let stop = stop.child_token();
        tokio::spawn(run(db, product, sequenced, batches.clone(), stop.clone()));
        Arc::new(Self { batches, stop })
    }

    /// A receiver of all batches that are read from now on. A receiver that falls behind
    /// gets `RecvError::Lagged`.
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
                tracing::warn!(%product, %error, "reading the tail of a feed failed; retrying");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // The feed owns the sender and outlives its tails.
            _ = sequenced.changed() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

/// The last position of a tail, with the epoch of its feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TailPosition {
    epoch: Uuid,
    point: FeedPoint,
}

/// Reads and broadcasts the new changes. Returns true if there may be more.
async fn advance(
    db: &Database,
    product: &Product,
    position: &mut Option<TailPosition>,
    batches: &broadcast::Sender<Batch>,
) -> Result<bool, RecordError> {
    let Some(known) = *position else {
        // A tail starts at the head: subscribers read earlier changes themselves.
        let feed_head = store::feed::seek(db.reader(), product, SeekTarget::Newest).await?;
        let Some(feed_head) = feed_head else { return Ok(false) };
        let point = FeedPoint { position: feed_head.position, change: feed_head.change };
        *position = Some(TailPosition { epoch: feed_head.epoch, point });
        // Subscribers that read the tables before this learn that there may be more.
        let _ = batches.send(Batch {
            epoch: feed_head.epoch,
            ends: feed_head.ends,
            after: point,
            items: Arc::default(),
            upto: point,
            is_dense: true,
        });
        return Ok(true);
    };
    let read = read(db, product, known.point.position, &[], |_| true).await?;
    let Some(first) = read.first() else { return Ok(false) };
    if (TailPosition { epoch: first.epoch, point: first.after }) != known || first.has_gap() {
        // The feed has another history than the one that was broadcast. The tail
        // restarts, and each subscriber compares the feed with what it has sent.
        let replaced_at = known.point.position;
        tracing::warn!(%product, position = replaced_at, "the history of a feed was replaced");
        *position = None;
        return Ok(true);
    }
    let count = read.iter().map(|batch| batch.items.len()).sum::<usize>();
    for batch in read {
        *position = Some(TailPosition { point: batch.upto, ..known });
        // Fails when the tail has no receiver; that is no error.
        let _ = batches.send(batch);
    }
    Ok(count > 0)
}

/// Reads the changes after a position in batches of bounded size: of `practices`, or of
/// all practices if it is empty. Returns at least one batch, which is empty if there is
/// nothing new. Only the changes that `with_images` accepts have their images.
pub(crate) async fn read(
    db: &Database,
    product: &Product,
    after: i64,
    practices: &[PracticeId],
    with_images: impl Fn(&FeedRow) -> bool,
) -> Result<Vec<Batch>, RecordError> {
    let page = store::feed::read(db.reader(), product, after, BATCH_EVENTS, practices).await?;
    let page = page.ok_or_else(|| not_connected(product.as_str()))?;
    let images = images(db, page.rows.iter().filter(|row| with_images(row))).await?;
    Ok(split(page, practices.is_empty(), &images))
}

fn split(page: FeedPage, is_dense: bool, images: &HashMap<Uuid, Bytes>) -> Vec<Batch> {
    let FeedPage { epoch, ends, after, rows, upto } = page;
    let (mut batches, mut batch, mut bytes, mut after) = (Vec::new(), Vec::new(), 0, after);
    let mut close = |items: Vec<FeedItem>, upto: FeedPoint| {
        let ends = ends.clone();
        let batch = Batch { epoch, ends, after, items: items.into(), upto, is_dense };
        after = upto;
        batch
    };
    let mut last = upto;
    for row in rows {
        let item = item(row, |id| images.get(id).cloned());
        if bytes > 0 && bytes + item.size() > BATCH_BYTES {
            batches.push(close(std::mem::take(&mut batch), last));
            bytes = 0;
        }
        bytes += item.size();
        last = FeedPoint { position: item.row.position, change: Some(item.row.id) };
        batch.push(item);
    }
    batches.push(close(batch, upto));
    batches
}

/// Loads the images of the records and companions of some changes.
async fn images(
    db: &Database,
    rows: impl Iterator<Item = &FeedRow>,
) -> Result<HashMap<Uuid, Bytes>, RecordError> {
    let mut records: HashMap<String, Vec<RecordRef>> = HashMap::new();
    let mut seen: HashSet<RecordRef> = HashSet::new();
    for row in rows {
        let of_row = std::iter::once(&row.record).chain(&row.companions);
        let new = of_row.copied().filter(|record| seen.insert(*record));
        records.entry(row.practice.clone()).or_default().extend(new);
    }
    store::images::get_of_practices(db.reader(), &records).await
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
