//! Reads of single records, sent together.
//!
//! Reading one record takes the database less time than the way to it: a round trip
//! to PostgreSQL, or the change to the thread of a connection of SQLite. While a
//! statement is under way the reads that come wait, and share the next one. A read
//! that comes alone is sent alone, at once.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use sea_orm::DbErr;
use shared::{caller::Caller, db::Database, pb::records::RecordKind};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{
    domain::record::RecordRef,
    error::{RecordError, not_connected},
    store::images::{self, Read, Reading, Wanted},
};

/// Statements under way at the same time: so that one which waits for a page from
/// the disk does not hold up all reads.
const AT_ONCE: usize = 2;

/// Reads of one statement.
const TOGETHER: usize = 64;

/// Reads that wait; more of them wait for a place.
const QUEUE: usize = 1_024;

/// Where reads are sent.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    queue: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    answer: oneshot::Sender<Result<Read, RecordError>>,
}

impl Reads {
    /// Starts the tasks that send them. They end when nobody can read any more.
    pub(crate) fn start(db: &Database) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..AT_ONCE {
            tokio::spawn(run(db.clone(), Arc::clone(&waiting)));
        }
        Self { queue }
    }

    /// The image of a record with that of its person; none when it is not there.
    ///
    /// # Errors
    ///
    /// `PRODUCT_NOT_CONNECTED` when the caller's product is not.
    pub(crate) async fn read(
        &self,
        caller: &Caller,
        record: RecordRef,
    ) -> Result<Option<Reading>, RecordError> {
        let (practice, product) = (caller.practice.clone(), caller.product.clone());
        let (answer, read) = oneshot::channel();
        let waiting = Waiting { wanted: Wanted { practice, product, record }, answer };
        self.queue.send(waiting).await.map_err(|_| ended())?;
        match read.await.map_err(|_| ended())?? {
            Read::Found(reading) => Ok(Some(reading)),
            Read::Missing => Ok(None),
            Read::NotConnected => Err(not_connected(caller.product.as_str()).into()),
        }
    }
}

fn ended() -> RecordError {
    DbErr::Custom("reading has ended".to_owned()).into()
}

async fn run(db: Database, queue: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
    loop {
        let mut together = Vec::new();
        if queue.lock().await.recv_many(&mut together, TOGETHER).await == 0 {
            return;
        }
        // A caller who has gone away needs no answer.
        together.retain(|waiting| !waiting.answer.is_closed());
        for kind in [RecordKind::Client, RecordKind::Person, RecordKind::Contact] {
            let is_of_kind = |waiting: &mut Waiting| waiting.wanted.record.kind == kind;
            let of_kind = together.extract_if(.., is_of_kind).collect();
            // A panic is the end of these reads, and not of all that come later.
            let _ = AssertUnwindSafe(answer(&db, kind, of_kind)).catch_unwind().await;
        }
    }
}

async fn answer(db: &Database, kind: RecordKind, together: Vec<Waiting>) {
    if together.is_empty() {
        return;
    }
    let wanted: Vec<&Wanted> = together.iter().map(|waiting| &waiting.wanted).collect();
    match images::read(db.reader(), kind, &wanted).await {
        Ok(read) => {
            for (waiting, read) in together.into_iter().zip(read) {
                let _ = waiting.answer.send(Ok(read));
            }
        }
        Err(error) => {
            for waiting in together {
                let _ = waiting.answer.send(Err(again(&error)));
            }
        }
    }
}

/// The same error once more, for another of those who wait.
fn again(error: &RecordError) -> RecordError {
    match error {
        RecordError::Database(error) => error.clone().into(),
        _ => RecordError::Corrupt("an image"),
    }
}
