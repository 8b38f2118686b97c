//! The one writer of an SQLite database.
//!
//! Writes wait in a queue. The writer takes what waits into one transaction, and
//! flushes once for all of them: a flush costs far more than the statements. A
//! write that fails, or panics, is undone alone: each has a savepoint, but for the
//! first, with which the transaction goes. A long write, as a chunk of an import,
//! is alone as a rule, and in a savepoint SQLite would keep every page that it
//! changes a second time. No answer is given before the flush, and none that a write
//! is kept before SQLite itself has said that it has committed ([`Witness`]).
//!
//! When a statement that begins, ends or undoes a transaction or a savepoint fails,
//! the state of the connection is unknown. It is closed, and another one is opened for
//! the next group.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait as _};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::JoinHandle,
};
use tracing::{Instrument as _, Span};

use super::{
    WriteError, WriteTx, begin, errors::rolled_back, outage, panicked, plainly, sole,
    witness::Witness,
};

/// Writes that wait; more of them wait for a place.
const QUEUE: usize = 1_024;

/// At most this many writes share a flush.
const GROUP_WRITES: usize = 64;

/// No further write joins a group that is this old, so that the first one does
/// not wait for the last one's statements.
const GROUP_TIME: Duration = Duration::from_millis(20);

type Queue = mpsc::Sender<Box<dyn Job>>;

/// The writer's queue, and its task.
pub(super) struct GroupWriter {
    connection: DatabaseConnection,
    queue: Mutex<Option<Queue>>,
    sender: mpsc::WeakSender<Box<dyn Job>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl GroupWriter {
    pub(super) fn start(connection: DatabaseConnection, witness: Witness) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(connection.clone(), witness, jobs));
        let sender = queue.downgrade();
        Self { connection, queue: Mutex::new(Some(queue)), sender, task: Mutex::new(Some(task)) }
    }

    pub(super) async fn write<T, E, F, Fut>(&self, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: WriteError,
        F: Fn(WriteTx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { job, span: Span::current(), outcome: None, reply });
        let closed = || DbErr::Custom("the database is closed".to_owned());
        let queue = self.sender.upgrade().ok_or_else(closed)?;
        queue.send(job).await.map_err(|_| closed())?;
        drop(queue);
        answer.await.unwrap_or_else(|_| Err(closed().into()))
    }

    /// Writes in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.sender.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Ends the queue, waits for what is in it, and closes the connection.
    pub(super) async fn close(&self) -> Result<(), DbErr> {
        self.queue.lock().await.take();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(cancelled = error.is_cancelled(), "the writer did not end by itself");
            return Err(panicked());
        }
        self.connection.clone().close().await
    }
}

/// A write is not to be kept: because of an error of the database, or of another.
type Undone = Option<DbErr>;

/// A write of any type.
trait Job: Send {
    /// Runs the write; what the database answered when it is not to be kept.
    fn run(&mut self, tx: WriteTx) -> BoxFuture<'_, Result<(), Undone>>;

    /// Sends the answer, after the flush.
    fn finish(self: Box<Self>, flushed: &Result<(), DbErr>);
}

struct Write<F, T, E> {
    job: F,
    /// Of the call that writes.
    span: Span,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F, Fut> Job for Write<F, T, E>
where
    T: Send + 'static,
    E: WriteError,
    F: Fn(WriteTx) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
{
    fn run(&mut self, tx: WriteTx) -> BoxFuture<'_, Result<(), Undone>> {
        Box::pin(async move {
            // A panic is the fault of this write alone, which is undone.
            let span = self.span.clone();
            let job = AssertUnwindSafe(async { (self.job)(tx).await }.instrument(span));
            let outcome = job.catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err(panicked().into()));
            let outcome = self.outcome.insert(outcome);
            outcome.as_ref().map(drop).map_err(|error| error.database().cloned())
        })
    }

    fn finish(self: Box<Self>, flushed: &Result<(), DbErr>) {
        let outcome = match (self.outcome, flushed) {
            (Some(Ok(_)) | None, Err(error)) => Err(error.clone().into()),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Err(DbErr::Custom("the write was not run".to_owned()).into()),
        };
        // A caller who has gone away needs no answer.
        let _ = self.reply.send(outcome);
    }
}

async fn run(
    connection: DatabaseConnection,
    witness: Witness,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
) {
    let mut fails = false;
    while let Some(first) = jobs.recv().await {
        let mut group = Vec::new();
        let flushed = match begin_surely(&connection, &witness).await {
            Ok(tx) => run_group(tx, &witness, first, &mut jobs, &mut group).await,
            Err(error) => {
                group.push(first);
                Err(error)
            }
        };
        if let Err(error) = &flushed {
            witness.spoil();
            if !fails {
                let error = plainly(error);
                tracing::warn!(%error, "SQLite has not committed: opening the database anew");
            }
        } else if fails {
            tracing::info!("SQLite commits again");
        }
        fails = flushed.is_err();
        for job in group {
            job.finish(&flushed);
        }
        if witness.is_spoilt() {
            // Opens the next one. When that fails, the next group tries again.
            let _ = connection.ping().await;
        }
    }
}

/// Begins a transaction. A connection that cannot may be the one to blame, as when the
/// file could not be written when it was opened: then a new one is asked.
async fn begin_surely(
    connection: &DatabaseConnection,
    witness: &Witness,
) -> Result<DatabaseTransaction, DbErr> {
    match begin(connection).await {
        Err(error) if outage(&error).is_some() => {
            witness.spoil();
            begin(connection).await
        }
        begun => begun,
    }
}

async fn run_group(
    tx: DatabaseTransaction,
    witness: &Witness,
    mut first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
) -> Result<(), DbErr> {
    witness.begun();
    let started = Instant::now();
    let ran = run_job(tx, witness, first.as_mut()).await;
    group.push(first);
    let (keep, tx) = ran?;
    if !keep {
        return tx.rollback().await;
    }
    while group.len() < GROUP_WRITES && started.elapsed() < GROUP_TIME {
        let Ok(mut job) = jobs.try_recv() else { break };
        let ran = run_in_savepoint(&tx, witness, job.as_mut()).await;
        group.push(job);
        if let Err(error) = ran {
            // It may be rolled back already. The connection is closed anyway.
            let _ = tx.rollback().await;
            return Err(error);
        }
    }
    witness.allow_commit()?;
    tx.commit().await?;
    witness.check_commit()
}

/// Runs a write; whether it is to be kept, and its transaction back.
///
/// # Errors
///
/// When SQLite has rolled the transaction back meanwhile: by an error of the write, as
/// a rule, which is the cause for all others too.
async fn run_job(
    tx: DatabaseTransaction,
    witness: &Witness,
    job: &mut dyn Job,
) -> Result<(bool, DatabaseTransaction), DbErr> {
    let tx = WriteTx(Arc::new(tx));
    let kept = job.run(tx.clone()).await;
    if witness.has_ended() {
        return Err(kept.err().flatten().unwrap_or_else(rolled_back));
    }
    Ok((kept.is_ok(), sole(tx)?))
}

async fn run_in_savepoint(
    tx: &DatabaseTransaction,
    witness: &Witness,
    job: &mut dyn Job,
) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "a savepoint: the write lock is held already")]
    let (keep, savepoint) = run_job(tx.begin().await?, witness, job).await?;
    if keep { savepoint.commit().await } else { savepoint.rollback().await }
}
