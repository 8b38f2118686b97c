//! Running a script in a transaction: once, though its request may come twice.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use shared::{
    caller::Caller,
    db::{Scope, WriteTx, Writes},
    pb::records::ErrorReason,
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{Records, intent::Intent};
use crate::{
    domain::{
        change::{Authorship, Change},
        moment::Moment,
    },
    error::RecordError,
    store::{
        self,
        changes::{self, Audience},
        connections,
        requests::{self, Answered},
    },
};

/// What a script works with.
#[derive(Debug)]
pub(crate) struct Script {
    tx: WriteTx,
    pub(crate) caller: Caller,
    pub(crate) at: Moment,
    /// When a record that is orphaned now is removed.
    pub(crate) purge_at: DateTime<Utc>,
    request_id: Option<Uuid>,
    reason: String,
    /// The products that are connected, when they have been read already.
    connected: Option<Vec<String>>,
    last: Mutex<Last>,
}

/// What a script writes last, with no need of an answer: sent together.
#[derive(Debug)]
struct Last {
    writes: Writes,
    /// Whether changes are among it. More of them must not be sent with them:
    /// nothing would keep their order.
    has_changes: bool,
}

impl Last {
    fn new(tx: &WriteTx) -> Self {
        Self { writes: Writes::new(tx.get_database_backend()), has_changes: false }
    }
}

impl Script {
    /// The transaction.
    pub(crate) fn db(&self) -> &DatabaseTransaction {
        &self.tx
    }

    /// Who makes the changes.
    pub(crate) fn author(&self) -> Authorship<'_> {
        Authorship {
            caller: &self.caller,
            now: self.at.now,
            request_id: self.request_id,
            reason: &self.reason,
        }
    }

    /// Who hears of the changes.
    ///
    /// # Errors
    ///
    /// As [`Audience::of`].
    pub(crate) async fn audience(&self) -> Result<Audience, RecordError> {
        let products = match &self.connected {
            Some(products) => products.clone(),
            None => connections::products(self.db(), &self.caller.practice).await?,
        };
        Audience::of(&self.caller, products)
    }

    /// Leaves to the end of the script what `fill` adds. Until then the script does
    /// not find it in the tables.
    pub(crate) fn write_last(
        &self,
        fill: impl FnOnce(&mut Writes) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        fill(&mut self.last().writes)
    }

    /// Appends changes, to the feed and to the audit.
    pub(crate) async fn append(
        &self,
        author: Authorship<'_>,
        audience: &Audience,
        changes: &[Change],
    ) -> Result<(), RecordError> {
        if changes.is_empty() {
            return Ok(());
        }
        let needs_links = changes::need_links(changes);
        // The links among what waits count too; and its changes come first.
        if needs_links || self.last().has_changes {
            self.write_what_waits().await?;
        }
        let linked = if needs_links {
            changes::linked_products(self.db(), author.caller, changes).await?
        } else {
            changes::Linked::new()
        };
        let mut last = self.last();
        last.has_changes = true;
        changes::append(&mut last.writes, author, audience, &linked, changes)
    }

    /// Writes what was left to the end.
    ///
    /// # Errors
    ///
    /// As [`store::send`].
    pub(crate) async fn write_what_waits(&self) -> Result<(), RecordError> {
        let Last { writes, .. } = std::mem::replace(&mut *self.last(), Last::new(&self.tx));
        store::send(writes, self.db()).await
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a script answers, and the record that the answer is about.
#[derive(Debug)]
pub(crate) struct Answer<R> {
    pub(crate) response: R,
    pub(crate) record: Uuid,
}

/// How a transaction ended that did not fail.
enum Done<T> {
    /// The script was run.
    Now(T),
    /// It was run before; this is the answer that was given then.
    Before(Vec<u8>),
}

impl Records {
    /// The time of a transaction that begins now.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), today: self.clock.today() }
    }

    /// Runs a script in a transaction, and wakes the sequencer after it.
    ///
    /// `input` is handed to every run of the script: it may run more than once.
    pub(crate) async fn write<I, T, F, Fut>(
        &self,
        caller: Caller,
        input: I,
        script: F,
    ) -> Result<T, RecordError>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(Arc<Script>, Arc<I>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RecordError>> + Send + 'static,
    {
        let (at, input) = (self.moment(), Arc::new(input));
        let purge_at = at.now + self.purge_after;
        let scope = Scope::from(&caller.practice);
        let write = self.db.write(scope, move |tx| {
            let (caller, reason) = (caller.clone(), String::new());
            let last = Mutex::new(Last::new(&tx));
            let (request_id, connected) = (None, None);
            let work = Script { tx, caller, at, purge_at, request_id, reason, connected, last };
            let work = Arc::new(work);
            let written = script(Arc::clone(&work), Arc::clone(&input));
            async move {
                let answer = written.await?;
                work.write_what_waits().await?;
                Ok::<T, RecordError>(answer)
            }
        });
        let answer = write.await?;
        self.feed.changes_were_committed();
        Ok(answer)
    }

    /// As [`write`](Self::write), for a request of a caller: answered as before
    /// when it comes again, and undone when it is only to be checked.
    pub(crate) async fn mutate<I, R, F, Fut>(
        &self,
        caller: Caller,
        intent: Intent,
        input: I,
        script: F,
    ) -> Result<R, RecordError>
    where
        I: Send + Sync + 'static,
        R: prost::Message + Default + 'static,
        F: Fn(Arc<Script>, Arc<I>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer<R>, RecordError>> + Send + 'static,
    {
        let intent = intent.of(&caller.account);
        let (at, intent, input) = (self.moment(), Arc::new(intent), Arc::new(input));
        let purge_at = at.now + self.purge_after;
        let request = (caller.clone(), Arc::clone(&intent));
        let done = self.db.write(&request.0.practice, move |tx| {
            let (script, intent, input) = (script.clone(), Arc::clone(&intent), Arc::clone(&input));
            let caller = caller.clone();
            async move {
                let (connected, before) =
                    requests::opening(&*tx, &caller, intent.request_id).await?;
                if let Some(answer) = answer_of(before, &intent)? {
                    return Ok(Done::Before(answer));
                }
                let work = Arc::new(Script {
                    last: Mutex::new(Last::new(&tx)),
                    tx,
                    caller,
                    at,
                    purge_at,
                    request_id: intent.request_id,
                    reason: intent.reason.clone(),
                    connected: Some(connected),
                });
                let answer = script(Arc::clone(&work), input).await?;
                let encoded = answer.response.encode_to_vec();
                if intent.validate_only {
                    work.write_what_waits().await?;
                    // An error, so that the transaction is undone.
                    return Err(RecordError::OnlyChecked(encoded));
                }
                keep_answer(&work, &intent, encoded, answer.record)?;
                work.write_what_waits().await?;
                Ok(Done::Now(answer.response))
            }
        });
        match done.await {
            Ok(Done::Now(response)) => {
                self.feed.changes_were_committed();
                Ok(response)
            }
            Ok(Done::Before(answer)) | Err(RecordError::OnlyChecked(answer)) => decode(&answer),
            Err(error) => {
                // The same request may have been answered while this one waited
                // for it, and then found a reference taken or an etag changed.
                let (caller, intent) = request;
                match answered_before(self.db.reader(), &caller, &intent).await {
                    Ok(Some(answer)) => decode(&answer),
                    Ok(None) | Err(_) => Err(error),
                }
            }
        }
    }
}

fn decode<R: prost::Message + Default>(answer: &[u8]) -> Result<R, RecordError> {
    R::decode(answer).map_err(|_| RecordError::Corrupt("a kept answer"))
}

/// The answer that the request was given before.
async fn answered_before(
    db: &impl ConnectionTrait,
    caller: &Caller,
    intent: &Intent,
) -> Result<Option<Vec<u8>>, RecordError> {
    let Some(request_id) = intent.request_id else { return Ok(None) };
    answer_of(requests::find(db, caller, request_id).await?, intent)
}

fn answer_of(before: Option<Answered>, intent: &Intent) -> Result<Option<Vec<u8>>, RecordError> {
    match before {
        None => Ok(None),
        Some(before) if before.payload_digest != intent.payload_digest => Err(Refusal::new(
            Code::InvalidArgument,
            ErrorReason::RequestIdReused,
            "the request_id was used before, with another request; make a new one",
        )
        .into()),
        Some(Answered { answer: Some(answer), .. }) => Ok(Some(answer)),
        Some(Answered { answer: None, .. }) => {
            Err(Refusal::not_found("record", "it was removed after this request").into())
        }
    }
}

fn keep_answer(
    script: &Script,
    intent: &Intent,
    answer: Vec<u8>,
    record: Uuid,
) -> Result<(), RecordError> {
    let Some(request_id) = intent.request_id else { return Ok(()) };
    let payload_digest = intent.payload_digest.to_vec();
    let answered = Answered { payload_digest, answer: Some(answer) };
    script.write_last(|writes| {
        requests::insert(writes, &script.caller, request_id, answered, record, script.at.now);
        Ok(())
    })
}
