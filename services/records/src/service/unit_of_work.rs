//! The unit of work: a transaction with its caller, its time and its deferred statements.
//!
//! [`Records::mutate`] makes a request idempotent: it stores the answer under the
//! idempotency key, and replays it when the request is sent again.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, NaiveDate, Utc};
use concord_core::{
    caller::{Caller, Product},
    status::ApiError,
};
use concord_db::{StatementBatch, TenantDb, TenantScope, WriteEnd, WriteTx};
use concord_proto::pb::records::ErrorReason;
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use tonic::Code;
use uuid::Uuid;

use super::{Records, request_context::RequestContext};
use crate::{
    domain::change::{Authorship, Change},
    error::RecordError,
    store::{
        self,
        changes::{self, Recipients},
        connections,
        requests::{self, StoredAnswer},
    },
};

/// The time of a transaction: the instant, and the day in the time zone of the practice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTime {
    pub(crate) now: DateTime<Utc>,
    pub(crate) today: NaiveDate,
}

/// A transaction of a command, with its caller, its time and its deferred statements.
#[derive(Debug)]
pub(crate) struct UnitOfWork {
    tx: WriteTx,
    pub(crate) caller: Caller,
    pub(crate) at: RequestTime,
    /// When a record that becomes orphaned in this transaction is purged.
    pub(crate) purge_at: DateTime<Utc>,
    request_id: Option<Uuid>,
    reason: String,
    /// The products that are connected, if they were read before.
    connected: Option<Vec<String>>,
    deferred: Mutex<Deferred>,
}

/// Statements that need no result. They are sent as one batch at the end of the
/// transaction, or at a [`flush`](UnitOfWork::flush).
#[derive(Debug)]
struct Deferred {
    batch: StatementBatch,
    /// True if the batch inserts changes. A second insert of changes needs a batch of its
    /// own, because the statements of a batch have no order.
    has_changes: bool,
}

impl Deferred {
    fn new(db: TenantDb<'_, DatabaseTransaction>) -> Self {
        Self { batch: db.batch(), has_changes: false }
    }
}

impl UnitOfWork {
    /// The transaction, for the rows of the caller's practice.
    pub(crate) fn db(&self) -> TenantDb<'_, DatabaseTransaction> {
        self.tx.of(&self.caller.practice)
    }

    /// The author of the changes: the caller, with the time and the reason.
    pub(crate) fn author(&self) -> Authorship<'_> {
        Authorship {
            caller: &self.caller,
            now: self.at.now,
            request_id: self.request_id,
            reason: &self.reason,
        }
    }

    /// The recipients of the changes: the connected products.
    ///
    /// # Errors
    ///
    /// As [`Recipients::of`].
    pub(crate) async fn recipients(&self) -> Result<Recipients, RecordError> {
        let products = match &self.connected {
            Some(products) => products.clone(),
            None => connections::products(self.db()).await?,
        };
        Recipients::of(&self.caller, products)
    }

    /// Defers the statements that `fill` adds. They are not visible to queries of the
    /// transaction before [`flush`](Self::flush).
    pub(crate) fn defer(
        &self,
        fill: impl FnOnce(&mut StatementBatch) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        fill(&mut self.deferred().batch)
    }

    /// Appends changes to the outbox of the feed and to the audit.
    pub(crate) async fn append(
        &self,
        author: Authorship<'_>,
        recipients: &Recipients,
        changes: &[Change],
    ) -> Result<(), RecordError> {
        if changes.is_empty() {
            return Ok(());
        }
        let needs_links = changes::need_links(changes);
        // Deferred links count too, and deferred changes must be inserted first.
        if needs_links || self.deferred().has_changes {
            self.flush().await?;
        }
        let linked = if needs_links {
            changes::linked_products(self.db(), changes).await?
        } else {
            changes::Linked::new()
        };
        let mut deferred = self.deferred();
        deferred.has_changes = true;
        changes::append(&mut deferred.batch, author, recipients, &linked, changes)
    }

    /// Sends the deferred statements.
    ///
    /// # Errors
    ///
    /// As [`store::flush`].
    pub(crate) async fn flush(&self) -> Result<(), RecordError> {
        let db = self.db();
        let empty = Deferred::new(db);
        let Deferred { batch, .. } = std::mem::replace(&mut *self.deferred(), empty);
        store::flush(batch, db.connection()).await
    }

    fn deferred(&self) -> MutexGuard<'_, Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of a command, and the record that it is about.
#[derive(Debug)]
pub(crate) struct Answer<R> {
    pub(crate) response: R,
    pub(crate) record: Uuid,
}

/// How an idempotent request was answered.
enum Execution<T> {
    /// The command ran.
    First(T),
    /// The command ran before. Holds the stored answer.
    Replayed(Vec<u8>),
    /// The command ran, and is rolled back.
    DryRun(T),
}

impl Records {
    /// The time of a transaction that starts now.
    pub(crate) fn request_time(&self) -> RequestTime {
        RequestTime { now: self.clock.now(), today: self.clock.today() }
    }

    /// Runs `body` in a transaction, and wakes the sequencer after the commit.
    ///
    /// The transaction is retried after a conflict: `body` may run more than once, with
    /// the same `input`.
    pub(crate) async fn write<I, T, F, Fut>(
        &self,
        caller: Caller,
        input: I,
        body: F,
    ) -> Result<T, RecordError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(Arc<UnitOfWork>, Arc<I>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RecordError>> + Send + 'static,
    {
        let write = self.write_or_roll_back(caller, input, move |work, input| {
            let written = body(work, input);
            async move { written.await.map(WriteEnd::Commit) }
        });
        write.await
    }

    /// As [`write`](Self::write), but `body` also decides whether the transaction is
    /// committed or rolled back. A rollback sends no deferred statements, and does not wake
    /// the sequencer.
    pub(crate) async fn write_or_roll_back<I, T, F, Fut>(
        &self,
        caller: Caller,
        input: I,
        body: F,
    ) -> Result<T, RecordError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(Arc<UnitOfWork>, Arc<I>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<WriteEnd<T>, RecordError>> + Send + 'static,
    {
        let (at, input) = (self.request_time(), Arc::new(input));
        let purge_at = at.now + self.purge_after;
        let scope = TenantScope::from(&caller.practice);
        let write = self.db.write_or_roll_back(scope, move |tx| {
            let (caller, reason) = (caller.clone(), String::new());
            let deferred = Mutex::new(Deferred::new(tx.of(&caller.practice)));
            let work = Arc::new(UnitOfWork {
                tx,
                caller,
                at,
                purge_at,
                request_id: None,
                reason,
                connected: None,
                deferred,
            });
            let written = body(Arc::clone(&work), Arc::clone(&input));
            async move {
                match written.await? {
                    WriteEnd::Commit(answer) => {
                        work.flush().await?;
                        Ok::<_, RecordError>(WriteEnd::Commit((answer, true)))
                    }
                    WriteEnd::Rollback(answer) => Ok(WriteEnd::Rollback((answer, false))),
                }
            }
        });
        let (answer, is_committed) = write.await?;
        if is_committed {
            self.feed.notify_pending();
        }
        Ok(answer)
    }

    /// As [`write`](Self::write), for an idempotent request of a caller. A repeated
    /// request gets the stored answer. A dry run is rolled back.
    pub(crate) async fn mutate<I, R, F, Fut>(
        &self,
        caller: Caller,
        context: RequestContext,
        input: I,
        body: F,
    ) -> Result<R, RecordError>
    where
        I: Send + Sync + 'static,
        R: prost::Message + Default + 'static,
        F: Fn(Arc<UnitOfWork>, Arc<I>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer<R>, RecordError>> + Send + 'static,
    {
        let context = context.for_account(&caller.account);
        let (at, context, input) = (self.request_time(), Arc::new(context), Arc::new(input));
        let purge_at = at.now + self.purge_after;
        let request = (caller.clone(), Arc::clone(&context));
        let done = self.db.write_or_roll_back(&request.0.practice, move |tx| {
            let (body, context, input) = (body.clone(), Arc::clone(&context), Arc::clone(&input));
            let caller = caller.clone();
            async move {
                let db = tx.of(&caller.practice);
                let (connected, stored) =
                    requests::products_and_answer(db, &caller.product, context.request_id).await?;
                if let Some(answer) = replay(stored, &context)? {
                    return Ok(WriteEnd::Commit(Execution::Replayed(answer)));
                }
                let work = Arc::new(UnitOfWork {
                    deferred: Mutex::new(Deferred::new(db)),
                    tx,
                    caller,
                    at,
                    purge_at,
                    request_id: context.request_id,
                    reason: context.reason.clone(),
                    connected: Some(connected),
                });
                let answer = body(Arc::clone(&work), input).await?;
                if context.validate_only {
                    // Flushed all the same: the deferred statements may violate a unique key.
                    work.flush().await?;
                    return Ok(WriteEnd::Rollback(Execution::DryRun(answer.response)));
                }
                let encoded = answer.response.encode_to_vec();
                store_answer(&work, &context, encoded, answer.record)?;
                work.flush().await?;
                Ok::<_, RecordError>(WriteEnd::Commit(Execution::First(answer.response)))
            }
        });
        match done.await {
            Ok(Execution::First(response)) => {
                self.feed.notify_pending();
                Ok(response)
            }
            Ok(Execution::Replayed(answer)) => decode(&answer),
            Ok(Execution::DryRun(response)) => Ok(response),
            Err(error) => {
                // A concurrent call of the same request may have committed first. This
                // one then failed with a duplicate reference or an etag mismatch.
                let (caller, context) = request;
                let db = self.db.reader_of(&caller.practice);
                match stored_answer(db, &caller.product, &context).await {
                    Ok(Some(answer)) => decode(&answer),
                    Ok(None) | Err(_) => Err(error),
                }
            }
        }
    }
}

fn decode<R: prost::Message + Default>(answer: &[u8]) -> Result<R, RecordError> {
    R::decode(answer).map_err(|_| RecordError::Corrupt("a stored answer"))
}

/// The stored answer of the request.
async fn stored_answer(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
    context: &RequestContext,
) -> Result<Option<Vec<u8>>, RecordError> {
    let Some(request_id) = context.request_id else { return Ok(None) };
    replay(requests::find(db, product, request_id).await?, context)
}

/// The stored answer, checked against the request.
///
/// # Errors
///
/// `REQUEST_ID_REUSED` when the idempotency key was used with another request.
fn replay(
    stored: Option<StoredAnswer>,
    context: &RequestContext,
) -> Result<Option<Vec<u8>>, RecordError> {
    match stored {
        None => Ok(None),
        Some(stored) if stored.payload_digest != context.payload_digest => Err(ApiError::new(
            Code::InvalidArgument,
            ErrorReason::RequestIdReused,
            "the request_id was used before, with another request; make a new one",
        )
        .into()),
        Some(StoredAnswer { answer: Some(answer), .. }) => Ok(Some(answer)),
        Some(StoredAnswer { answer: None, .. }) => {
            Err(ApiError::not_found("record", "it was removed after this request").into())
        }
    }
}

fn store_answer(
    work: &UnitOfWork,
    context: &RequestContext,
    answer: Vec<u8>,
    record: Uuid,
) -> Result<(), RecordError> {
    let Some(request_id) = context.request_id else { return Ok(()) };
    let payload_digest = context.payload_digest.to_vec();
    let answered = StoredAnswer { payload_digest, answer: Some(answer) };
    work.defer(|batch| {
        requests::insert(batch, &work.caller, request_id, answered, record, work.at.now);
        Ok(())
    })
}
