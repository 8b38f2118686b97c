//! `UploadBatch`.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt as _};
use shared::{
    caller::Caller,
    db::{Scope, WriteTx},
    shares::Share,
};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Imports, MAX_UPLOADS, Uploader, check_owner, key};
use crate::{
    config::UploadSettings,
    domain::{
        batch::{BatchDigest, BatchFault, Content, Declared, Intake},
        import::{Import, ImportKey, Receipt},
        tally::Tally,
        words::{Kind, State, Status},
    },
    error::{
        ImportError, batch_key_reused, batch_not_declared, batch_not_found, import_not_found,
        not_receiving, too_many_uploads,
    },
    store,
};

/// What the first message of an upload says.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) import_id: Uuid,
    pub(crate) batch_key: String,
    pub(crate) declared: Declared,
}

/// A batch that is kept.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) receipt: Receipt,
    pub(crate) already_staged: bool,
}

/// One message of an upload.
#[derive(Debug)]
pub(crate) enum Message {
    Header(Header),
    Frame(Vec<Bytes>),
    Commit(Option<BatchDigest>),
}

impl Imports {
    /// Takes one batch, and keeps it durably.
    pub(crate) async fn upload(
        &self,
        caller: &Caller,
        mut messages: impl Stream<Item = Result<Message, ImportError>> + Unpin,
    ) -> Result<Uploaded, ImportError> {
        let first = timeout_at(Instant::now() + self.upload.header, messages.next()).await;
        let late = |_| BatchFault::Late { seconds: self.upload.header.as_secs() };
        let Message::Header(header) = first.map_err(late)?.ok_or(BatchFault::Incomplete)?? else {
            return Err(BatchFault::OutOfOrder("the first one was no header").into());
        };
        let intake = Intake::new(header.declared)?;
        let _permit = self.permit(caller)?;
        let key = key(caller, header.import_id);
        self.check_open(caller, &key, &header.batch_key).await?;
        let whole = self.upload.whole;
        let received = tokio::time::timeout(whole, self.receive(intake, messages)).await;
        let slow = |_| BatchFault::Slow { seconds: whole.as_secs() };
        let content = received.map_err(slow)??;
        let uploaded = self.stage(key, header.batch_key, content).await?;
        // It may have been the last one of an import that seals itself.
        self.wake.notify_one();
        Ok(uploaded)
    }

    /// Takes the frames of a batch to its commit.
    async fn receive(
        &self,
        mut intake: Intake,
        mut messages: impl Stream<Item = Result<Message, ImportError>> + Unpin,
    ) -> Result<Content, ImportError> {
        let mut speed = Speed::new(self.upload);
        loop {
            match speed.next(&mut messages).await? {
                Message::Frame(records) => {
                    intake.frame(&records)?;
                    speed.arrived(records.iter().map(Bytes::len).sum());
                }
                Message::Commit(sha256) => return Ok(intake.commit(sha256)?),
                Message::Header(_) => {
                    return Err(BatchFault::OutOfOrder("there was a second header").into());
                }
            }
        }
    }

    /// The receipt of a batch.
    pub(crate) async fn batch(
        &self,
        caller: &Caller,
        id: Uuid,
        batch_key: &str,
    ) -> Result<Receipt, ImportError> {
        let key = key(caller, id);
        self.check_exists(&key).await?;
        let receipt = store::batches::by_batch_key(self.db.reader(), &key, batch_key).await?;
        receipt.ok_or_else(|| batch_not_found(batch_key).into())
    }

    fn permit(&self, caller: &Caller) -> Result<Share<Uploader>, ImportError> {
        let uploader = Uploader(caller.practice.clone(), caller.product.clone());
        let permit = self.uploads.try_take(&uploader, 1);
        permit.ok_or_else(|| too_many_uploads(MAX_UPLOADS).into())
    }

    /// Refuses early what the end would refuse: before ten megabytes arrive.
    async fn check_open(
        &self,
        caller: &Caller,
        key: &ImportKey,
        batch_key: &str,
    ) -> Result<(), ImportError> {
        let import = store::imports::find(self.db.reader(), key).await?;
        let import = import.ok_or_else(|| import_not_found(key.id))?;
        check_owner(caller, &import)?;
        let (db, receives) = (self.db.reader(), import.state == State::Receiving);
        if receives && !declares(&import) {
            return Ok(());
        }
        match store::batches::by_batch_key(db, key, batch_key).await? {
            Some(_) => Ok(()),
            None if receives => check_declared(&import, batch_key),
            None => Err(not_receiving(key.id, import.state).into()),
        }
    }

    async fn stage(
        &self,
        key: ImportKey,
        batch_key: String,
        content: Content,
    ) -> Result<Uploaded, ImportError> {
        let receipt = Receipt {
            import_id: key.id,
            ordinal: 0,
            round: 0,
            batch_key,
            sha256: content.sha256,
            size_bytes: content.size_bytes,
            counts: content.counts,
            staged_at: self.clock.now(),
        };
        let scope = Scope::from(&key.practice);
        let batch = Arc::new((key, receipt, content.records));
        let written = self.db.write(scope, move |tx| {
            let batch = Arc::clone(&batch);
            async move {
                let (key, receipt, records) = &*batch;
                stage_once(&tx, key, receipt, records).await
            }
        });
        written.await
    }
}

/// The least speed of an upload: so many bytes in a time, or the end. A message does not
/// renew the time, only the bytes do.
struct Speed {
    settings: UploadSettings,
    until: Instant,
    bytes: u64,
}

impl Speed {
    fn new(settings: UploadSettings) -> Self {
        Self { settings, until: Instant::now() + settings.idle, bytes: 0 }
    }

    /// The next message of the caller.
    async fn next(
        &self,
        messages: &mut (impl Stream<Item = Result<Message, ImportError>> + Unpin),
    ) -> Result<Message, ImportError> {
        match timeout_at(self.until, messages.next()).await {
            Ok(message) => message.ok_or(BatchFault::Incomplete)?,
            Err(_) => Err(BatchFault::Idle {
                bytes: self.settings.least_bytes,
                seconds: self.settings.idle.as_secs(),
            }
            .into()),
        }
    }

    fn arrived(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.bytes >= self.settings.least_bytes {
            *self = Self::new(self.settings);
        }
    }
}

/// Stages a batch, unless it is there already. Locks the import, so that of two
/// equal uploads the second one finds the first.
async fn stage_once(
    tx: &WriteTx,
    key: &ImportKey,
    receipt: &Receipt,
    records: &[Bytes],
) -> Result<Uploaded, ImportError> {
    let import = store::imports::lock(&**tx, key).await?;
    let import = import.ok_or_else(|| import_not_found(key.id))?;
    match store::batches::by_batch_key(&**tx, key, &receipt.batch_key).await? {
        Some(first) if first.sha256 == receipt.sha256 => {
            return Ok(Uploaded { receipt: first, already_staged: true });
        }
        Some(_) => return Err(batch_key_reused(&receipt.batch_key).into()),
        None if import.state != State::Receiving => {
            return Err(not_receiving(key.id, import.state).into());
        }
        None => check_declared(&import, &receipt.batch_key)?,
    }
    let (ordinal, round) = (import.batch_count + 1, import.round);
    let receipt = Receipt { ordinal, round, ..receipt.clone() };
    store::imports::add_batch(&**tx, key, receipt.staged_at).await?;
    store::batches::insert(&**tx, key, &receipt).await?;
    store::staged::insert(&**tx, key, receipt.ordinal, records).await?;
    store::tally::add(&**tx, key, &staged(&receipt)).await?;
    seal_when_complete(tx, import, receipt.staged_at).await?;
    Ok(Uploaded { receipt, already_staged: false })
}

/// Whether the import has said what its batches are; those of corrections are not
/// declared.
fn declares(import: &Import) -> bool {
    import.round == 1 && import.expected.is_some()
}

/// Refuses a new batch that was not declared: with it the import would never be what
/// it was to be, and never seal itself.
fn check_declared(import: &Import, batch_key: &str) -> Result<(), ImportError> {
    let expected = import.expected.as_ref().filter(|_| declares(import));
    let refused = expected.and_then(|expected| expected.refuses(batch_key, import.batch_count));
    refused.map_or(Ok(()), |why| Err(batch_not_declared(batch_key, why).into()))
}

/// An import that has said what it is to hold seals itself with the last of it.
async fn seal_when_complete(
    tx: &WriteTx,
    import: Import,
    now: DateTime<Utc>,
) -> Result<(), ImportError> {
    let Some(expected) = import.expected.clone().filter(|_| import.round == 1) else {
        return Ok(());
    };
    let batches = store::batches::of_round(&**tx, &import.key, import.round).await?;
    let keys: Vec<String> = batches.iter().map(|batch| batch.batch_key.clone()).collect();
    let records = batches.iter().map(|batch| batch.counts.records()).sum();
    if expected.is_met(&keys, records) {
        let batch_count = i64::try_from(batches.len()).unwrap_or(i64::MAX);
        let import = Import { batch_count, ..import };
        store::imports::seal(&**tx, import, now, records == 0).await?;
    } else if let Some(declared) = expected.other_records(&keys, records) {
        let note = format!(
            "{records} records have arrived, and {declared} were declared: seal the import as it \
             is, or cancel it"
        );
        store::imports::set_note(&**tx, &import.key, &note).await?;
    }
    Ok(())
}

/// The records of a batch, none of them looked at yet.
fn staged(receipt: &Receipt) -> Tally {
    let counts = receipt.counts;
    let kinds = [
        (Kind::Client, counts.clients),
        (Kind::Contact, counts.contacts),
        (Kind::Address, counts.addresses),
        (Kind::Unknown, counts.unreadable),
    ];
    kinds.into_iter().map(|(kind, n)| (kind, Status::Staged, n)).collect()
}
