//! The single writer of an SQLite database, with group commit.
//!
//! Writes wait in a queue. The writer runs the queued writes in one transaction, and commits
//! once for all of them: the flush to disk costs far more than the statements. A write that
//! fails or panics is rolled back alone: each write has a savepoint, except for the first,
//! whose failure rolls the transaction back. A long write, such as a chunk of an import, is
//! usually alone, and in a savepoint SQLite would copy every page that it changes. A write
//! completes only after the commit, and succeeds only if SQLite itself has reported the
//! commit ([`TransactionMonitor`]).
//!
//! If a statement that begins, commits or rolls back a transaction or a savepoint fails, the
//! state of the connection is unknown. It is closed, and another one is opened for the next
//! group.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
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
    errors::{outage, redacted, rolled_back},
    transaction_monitor::TransactionMonitor,
    write::{WriteError, WriteTx, begin, panicked},
};

/// The capacity of the queue; further writes wait for space in it (backpressure).
const QUEUE: usize = 1_024;

/// The maximum number of writes in a group.
const GROUP_WRITES: usize = 64;

/// The age of a group after which no further write joins it, which bounds the latency of
/// the first one.
const GROUP_TIME: Duration = Duration::from_millis(20);

type Queue = mpsc::Sender<Box<dyn Job>>;

/// The queue and the task of the writer.
pub(super) struct GroupWriter {
    connection: DatabaseConnection,
    queue: Mutex<Option<Queue>>,
    sender: mpsc::WeakSender<Box<dyn Job>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl GroupWriter {
    pub(super) fn start(connection: DatabaseConnection, monitor: TransactionMonitor) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(connection.clone(), monitor, jobs));
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

    /// The number of writes in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.sender.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Closes the queue, waits for the writes in it, and closes the connection.
    pub(super) async fn close(&self) -> Result<(), DbErr> {
        self.queue.lock().await.take();
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(cancelled = error.is_cancelled(), "the writer task failed");
            return Err(panicked());
        }
        self.connection.clone().close().await
    }
}

/// Why a write is rolled back: the database error, or `None` for another error.
type RollbackCause = Option<DbErr>;

/// A write of any type.
trait Job: Send {
    /// Runs the write. An error means that it must be rolled back.
    fn run(&mut self, tx: WriteTx) -> BoxFuture<'_, Result<(), RollbackCause>>;

    /// Sends the outcome to the caller, after the commit.
    fn finish(self: Box<Self>, committed: &Result<(), DbErr>);
}

struct Write<F, T, E> {
    job: F,
    /// The span of the call that writes.
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
    fn run(&mut self, tx: WriteTx) -> BoxFuture<'_, Result<(), RollbackCause>> {
        Box::pin(async move {
            // A panic rolls back this write only.
            let span = self.span.clone();
            let job = AssertUnwindSafe(async { (self.job)(tx).await }.instrument(span));
            let outcome = job.catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err(panicked().into()));
            let outcome = self.outcome.insert(outcome);
            outcome.as_ref().map(drop).map_err(|error| error.database().cloned())
        })
    }

    fn finish(self: Box<Self>, committed: &Result<(), DbErr>) {
        let outcome = match (self.outcome, committed) {
            (Some(Ok(_)) | None, Err(error)) => Err(error.clone().into()),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Err(DbErr::Custom("the write was not run".to_owned()).into()),
        };
        // The caller may have been dropped.
        let _ = self.reply.send(outcome);
    }
}

async fn run(
    connection: DatabaseConnection,
    monitor: TransactionMonitor,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
) {
    let mut is_failing = false;
    while let Some(first) = jobs.recv().await {
        let mut group = Vec::new();
        let committed = match begin_with_retry(&connection, &monitor).await {
            Ok(tx) => run_group(tx, &monitor, first, &mut jobs, &mut group).await,
            Err(error) => {
                group.push(first);
                Err(error)
            }
        };
        if let Err(error) = &committed {
            monitor.discard_connection();
            if !is_failing {
                let error = redacted(error);
                tracing::warn!(%error, "SQLite did not commit; reopening the database");
            }
        } else if is_failing {
            tracing::info!("SQLite commits again");
        }
        is_failing = committed.is_err();
        for job in group {
            job.finish(&committed);
        }
        if monitor.is_discarded() {
            // Opens a new connection. A failure is retried by the next group.
            let _ = connection.ping().await;
        }
    }
}

/// Begins a transaction, and retries on a new connection after an outage: the connection may
/// be the cause, for example if the file was read-only when it was opened.
async fn begin_with_retry(
    connection: &DatabaseConnection,
    monitor: &TransactionMonitor,
) -> Result<DatabaseTransaction, DbErr> {
    match begin(connection).await {
        Err(error) if outage(&error).is_some() => {
            monitor.discard_connection();
            begin(connection).await
        }
        begun => begun,
    }
}

async fn run_group(
    tx: DatabaseTransaction,
    monitor: &TransactionMonitor,
    mut first: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    group: &mut Vec<Box<dyn Job>>,
) -> Result<(), DbErr> {
    monitor.record_begin();
    let started = Instant::now();
    let ran = run_job(tx, monitor, first.as_mut()).await;
    group.push(first);
    let (keep, tx) = ran?;
    if !keep {
        return tx.rollback().await;
    }
    while group.len() < GROUP_WRITES && started.elapsed() < GROUP_TIME {
        let Ok(mut job) = jobs.try_recv() else { break };
        let ran = run_in_savepoint(&tx, monitor, job.as_mut()).await;
        group.push(job);
        if let Err(error) = ran {
            // SQLite may have rolled back already. The connection is closed anyway.
            let _ = tx.rollback().await;
            return Err(error);
        }
    }
    monitor.allow_commit()?;
    tx.commit().await?;
    monitor.check_commit()
}

/// Runs a write, and returns whether to commit it, with its transaction.
///
/// # Errors
///
/// If SQLite itself has rolled the transaction back: usually after an error of the write,
/// which then is the error of all writes of the group.
async fn run_job(
    tx: DatabaseTransaction,
    monitor: &TransactionMonitor,
    job: &mut dyn Job,
) -> Result<(bool, DatabaseTransaction), DbErr> {
    let tx = WriteTx::new(tx);
    let outcome = job.run(tx.clone()).await;
    if monitor.has_ended() {
        return Err(outcome.err().flatten().unwrap_or_else(rolled_back));
    }
    Ok((outcome.is_ok(), tx.into_sole()?))
}

async fn run_in_savepoint(
    tx: &DatabaseTransaction,
    monitor: &TransactionMonitor,
    job: &mut dyn Job,
) -> Result<(), DbErr> {
    #[expect(clippy::disallowed_methods, reason = "a savepoint: the write lock is held already")]
    let (keep, savepoint) = run_job(tx.begin().await?, monitor, job).await?;
    if keep { savepoint.commit().await } else { savepoint.rollback().await }
}
