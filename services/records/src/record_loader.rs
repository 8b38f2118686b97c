//! A batch loader of single records.
//!
//! A read of one record costs less in the database than its round trip on PostgreSQL or
//! its thread hop on SQLite. Reads that arrive while a statement runs are queued, and the
//! next statement loads all of them. A single read is sent at once, without a delay.

use std::{panic::AssertUnwindSafe, sync::Arc};

use concord_core::caller::Caller;
use concord_db::Database;
use concord_proto::pb::records::RecordKind;
use futures::FutureExt as _;
use sea_orm::DbErr;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    domain::record::RecordRef,
    error::{RecordError, not_connected},
    store::batch_load::{self, LoadKey, LoadOutcome, LoadedRecord},
};

/// Concurrent statements. With more than one, a statement that waits for the disk does
/// not block all reads.
const CONCURRENCY: usize = 2;

/// Records of one statement at most.
const MAX_BATCH: usize = 64;

/// Queued reads. When the queue is full, callers wait (backpressure).
const QUEUE: usize = 1_024;

/// Loads single records in batches. Clones share one queue.
#[derive(Clone, Debug)]
pub(crate) struct RecordLoader {
    queue: mpsc::Sender<Pending>,
}

/// A queued read.
#[derive(Debug)]
struct Pending {
    key: LoadKey,
    reply: oneshot::Sender<Result<LoadOutcome, RecordError>>,
}

impl RecordLoader {
    /// Starts the tasks that send the statements. They end when all clones are dropped.
    pub(crate) fn start(db: &Database) -> Self {
        let (queue, pending) = mpsc::channel(QUEUE);
        let pending = Arc::new(Mutex::new(pending));
        for _ in 0..CONCURRENCY {
            tokio::spawn(run(db.clone(), Arc::clone(&pending)));
        }
        Self { queue }
    }

    /// Loads the image of a record, with the image of its person. `None` when the record
    /// does not exist.
    ///
    /// # Errors
    ///
    /// `PRODUCT_NOT_CONNECTED` when the caller's product is not.
    pub(crate) async fn load(
        &self,
        caller: &Caller,
        record: RecordRef,
    ) -> Result<Option<LoadedRecord>, RecordError> {
        let (practice, product) = (caller.practice.clone(), caller.product.clone());
        let (reply, outcome) = oneshot::channel();
        let pending = Pending { key: LoadKey { practice, product, record }, reply };
        self.queue.send(pending).await.map_err(|_| stopped())?;
        match outcome.await.map_err(|_| stopped())?? {
            LoadOutcome::Found(loaded) => Ok(Some(loaded)),
            LoadOutcome::Missing => Ok(None),
            LoadOutcome::NotConnected => Err(not_connected(caller.product.as_str()).into()),
        }
    }
}

fn stopped() -> RecordError {
    DbErr::Custom("the record loader has stopped".to_owned()).into()
}

async fn run(db: Database, queue: Arc<Mutex<mpsc::Receiver<Pending>>>) {
    loop {
        let mut batch = Vec::new();
        if queue.lock().await.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        // Skips the reads of callers that have disconnected.
        batch.retain(|pending| !pending.reply.is_closed());
        for kind in [RecordKind::Client, RecordKind::Person, RecordKind::Contact] {
            let is_of_kind = |pending: &mut Pending| pending.key.record.kind == kind;
            let of_kind = batch.extract_if(.., is_of_kind).collect();
            // A panic fails the reads of this batch only.
            let _ = AssertUnwindSafe(load_batch(&db, kind, of_kind)).catch_unwind().await;
        }
    }
}

async fn load_batch(db: &Database, kind: RecordKind, batch: Vec<Pending>) {
    if batch.is_empty() {
        return;
    }
    let keys: Vec<&LoadKey> = batch.iter().map(|pending| &pending.key).collect();
    match batch_load::read(db.reader(), kind, &keys).await {
        Ok(outcomes) => {
            for (pending, outcome) in batch.into_iter().zip(outcomes) {
                let _ = pending.reply.send(Ok(outcome));
            }
        }
        Err(error) => {
            for pending in batch {
                let _ = pending.reply.send(Err(clone_error(&error)));
            }
        }
    }
}

/// A copy of an error, for another read of the same batch.
fn clone_error(error: &RecordError) -> RecordError {
    match error {
        RecordError::Database(error) => error.clone().into(),
        _ => RecordError::Corrupt("an image"),
    }
}
