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
use shared::{
    caller::{PracticeId, Product},
    db::Database,
    pb::records::RecordKind,
};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    domain::record::RecordRef,
    error::{RecordError, not_connected},
    store::{
        self,
        feed::{FeedEnds, FeedRow, Mark, Reading, Spot},
    },
};

/// At most this many changes are read, and sent, at once.
pub(crate) const BATCH_EVENTS: usize = 500;

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

/// Changes that follow each other in a feed, or in what it has of some practices.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: Uuid,
    pub(crate) ends: FeedEnds,
    /// The change before the first of them.
    pub(crate) after: Mark,
    pub(crate) items: Arc<[FeedItem]>,
    /// Nothing up to here is missing in them.
    pub(crate) upto: Mark,
    /// Whether it is of all practices, so that it has every position.
    pub(crate) is_dense: bool,
}

impl Batch {
    /// The change at a position; none when it is not of this batch.
    pub(crate) fn at(&self, position: i64) -> Option<Mark> {
        let of_item =
            |item: &FeedItem| Mark { position: item.row.position, change: Some(item.row.id) };
        let mut marks = [self.after, self.upto].into_iter().chain(self.items.iter().map(of_item));
        marks.find(|mark| mark.position == position)
    }

    /// Whether a position between its ends is missing.
    pub(crate) fn is_torn(&self) -> bool {
        let first = self.items.first().map(|item| item.row.position);
        self.is_dense
            && first.map_or(self.after.position < self.ends.head, |first| {
                first != self.after.position + 1
            })
    }
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
    let mut place = None;
    loop {
        sequenced.mark_unchanged();
        match advance(&db, &product, &mut place, &batches).await {
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

/// How far a tail has come, in the feed of which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TailPlace {
    epoch: Uuid,
    mark: Mark,
}

/// Reads and hands out what is new; whether there may be more.
async fn advance(
    db: &Database,
    product: &Product,
    place: &mut Option<TailPlace>,
    batches: &broadcast::Sender<Batch>,
) -> Result<bool, RecordError> {
    let Some(known) = *place else {
        // It begins with what comes next: subscribers read the past themselves.
        let standing = store::feed::standing(db.reader(), product, Spot::Newest).await?;
        let Some(standing) = standing else { return Ok(false) };
        let mark = Mark { position: standing.position, change: standing.change };
        *place = Some(TailPlace { epoch: standing.epoch, mark });
        // Tells those who read the tables before this that there may be more.
        let _ = batches.send(Batch {
            epoch: standing.epoch,
            ends: standing.ends,
            after: mark,
            items: Arc::default(),
            upto: mark,
            is_dense: true,
        });
        return Ok(true);
    };
    let read = read(db, product, known.mark.position, &[], |_| true).await?;
    let Some(first) = read.first() else { return Ok(false) };
    if (TailPlace { epoch: first.epoch, mark: first.after }) != known || first.is_torn() {
        // The feed is not the one that was handed out so far. The tail restarts, and
        // each subscriber compares the feed with what it has sent.
        tracing::warn!(%product, position = known.mark.position, "a feed has another past now");
        *place = None;
        return Ok(true);
    }
    let count = read.iter().map(|batch| batch.items.len()).sum::<usize>();
    for batch in read {
        *place = Some(TailPlace { mark: batch.upto, ..known });
        // Nobody may be listening just now.
        let _ = batches.send(batch);
    }
    Ok(count > 0)
}

/// The changes after a position, of `practices` or of all when it is empty, in batches
/// of bounded size; at least one batch, which is empty when there is nothing new. Those
/// that are `wanted` have their images.
pub(crate) async fn read(
    db: &Database,
    product: &Product,
    after: i64,
    practices: &[PracticeId],
    wanted: impl Fn(&FeedRow) -> bool,
) -> Result<Vec<Batch>, RecordError> {
    let reading = store::feed::read(db.reader(), product, after, BATCH_EVENTS, practices).await?;
    let reading = reading.ok_or_else(|| not_connected(product.as_str()))?;
    let images = images(db, reading.rows.iter().filter(|row| wanted(row))).await?;
    Ok(split(reading, practices.is_empty(), &images))
}

fn split(reading: Reading, is_dense: bool, images: &HashMap<Uuid, Bytes>) -> Vec<Batch> {
    let Reading { epoch, ends, after, rows, upto } = reading;
    let (mut batches, mut batch, mut bytes, mut after) = (Vec::new(), Vec::new(), 0, after);
    let mut close = |items: Vec<FeedItem>, upto: Mark| {
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
        last = Mark { position: item.row.position, change: Some(item.row.id) };
        batch.push(item);
    }
    batches.push(close(batch, upto));
    batches
}

/// The images that go with some changes.
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
