//! Running a script in a transaction: once, though its request may come twice.

use std::{future::Future, sync::Arc};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use shared::{
    caller::Caller,
    db::{Scope, WriteTx},
    pb::records::ErrorReason,
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{Records, intent::Intent};
use crate::{
    domain::{change::Authorship, moment::Moment},
    error::RecordError,
    store::requests::{self, Answered},
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
            let work = Script { tx, caller, at, purge_at, request_id: None, reason };
            script(Arc::new(work), Arc::clone(&input))
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
                if let Some(answer) = answered_before(&*tx, &caller, &intent).await? {
                    return Ok(Done::Before(answer));
                }
                let work = Script {
                    tx: tx.clone(),
                    caller: caller.clone(),
                    at,
                    purge_at,
                    request_id: intent.request_id,
                    reason: intent.reason.clone(),
                };
                let answer = script(Arc::new(work), input).await?;
                let encoded = answer.response.encode_to_vec();
                if intent.validate_only {
                    // An error, so that the transaction is undone.
                    return Err(RecordError::OnlyChecked(encoded));
                }
                keep_answer(&tx, &caller, &intent, encoded, answer.record, at.now).await?;
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
    match requests::find(db, caller, request_id).await? {
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

async fn keep_answer(
    tx: &WriteTx,
    caller: &Caller,
    intent: &Intent,
    answer: Vec<u8>,
    record: Uuid,
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let Some(request_id) = intent.request_id else { return Ok(()) };
    let payload_digest = intent.payload_digest.to_vec();
    let answered = Answered { payload_digest, answer: Some(answer) };
    requests::insert(&**tx, caller, request_id, answered, record, now).await
}
