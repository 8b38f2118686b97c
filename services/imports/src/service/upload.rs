//! `UploadBatch`.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use concord_core::caller::Caller;
use concord_db::{TenantScope, WriteTx};
use concord_server::{Tenant, shares::Share};
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Imports, MAX_UPLOADS, check_owner, find, key};
use crate::{
    config::UploadSettings,
    domain::{
        batch::{BatchDigest, BatchError, BatchReceiver, Content, Declared},
        counters::Counters,
        enums::{Kind, State, Status},
        import::{Import, ImportKey, Receipt},
    },
    error::{
        ImportError, batch_key_reused, batch_not_declared, batch_not_found, import_not_found,
        not_receiving, too_many_uploads,
    },
    store::{self, ImportDb},
};

/// The header of an upload.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) import_id: Uuid,
    pub(crate) batch_key: String,
    pub(crate) declared: Declared,
}

/// A staged batch.
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
    /// Receives one batch, and stores it durably. Idempotent by batch key and digest.
    pub(crate) async fn upload(
        &self,
        caller: &Caller,
        mut messages: impl Stream<Item = Result<Message, ImportError>> + Unpin,
    ) -> Result<Uploaded, ImportError> {
        let first = timeout_at(Instant::now() + self.upload.header_timeout, messages.next()).await;
        let late = |_| BatchError::Late { seconds: self.upload.header_timeout.as_secs() };
        let Message::Header(header) = first.map_err(late)?.ok_or(BatchError::Incomplete)?? else {
            return Err(BatchError::OutOfOrder("the first one was no header").into());
        };
        let receiver = BatchReceiver::new(header.declared)?;
        let _permit = self.permit(caller)?;
        let key = key(caller, header.import_id);
        self.check_open(caller, &key, &header.batch_key).await?;
        let timeout = self.upload.total_timeout;
        let result = tokio::time::timeout(timeout, self.receive(receiver, messages)).await;
        let slow = |_| BatchError::Slow { seconds: timeout.as_secs() };
        let content = result.map_err(slow)??;
        let uploaded = self.stage(key, header.batch_key, content).await?;
        // The batch may complete an import that seals itself.
        self.wake.notify_one();
        Ok(uploaded)
    }

    /// Receives the frames of a batch until its commit.
    async fn receive(
        &self,
        mut receiver: BatchReceiver,
        mut messages: impl Stream<Item = Result<Message, ImportError>> + Unpin,
    ) -> Result<Content, ImportError> {
        let mut throughput = MinThroughput::new(self.upload);
        loop {
            match throughput.next(&mut messages).await? {
                Message::Frame(records) => {
                    receiver.add_frame(&records)?;
                    throughput.record(records.iter().map(Bytes::len).sum());
                }
                Message::Commit(sha256) => return Ok(receiver.commit(sha256)?),
                Message::Header(_) => {
                    return Err(BatchError::OutOfOrder("there was a second header").into());
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
        let db = self.reader_of(&key);
        find(db).await?;
        let receipt = store::batches::by_batch_key(db, batch_key).await?;
        receipt.ok_or_else(|| batch_not_found(batch_key).into())
    }

    fn permit(&self, caller: &Caller) -> Result<Share<Tenant>, ImportError> {
        let tenant = Tenant::in_practice(&caller.practice, &caller.product);
        let permit = self.uploads.try_take(&tenant, 1);
        permit.ok_or_else(|| too_many_uploads(MAX_UPLOADS).into())
    }

    /// Rejects early what [`stage_once`] would reject, before the content arrives.
    async fn check_open(
        &self,
        caller: &Caller,
        key: &ImportKey,
        batch_key: &str,
    ) -> Result<(), ImportError> {
        let db = self.reader_of(key);
        let import = find(db).await?;
        check_owner(caller, &import)?;
        let is_receiving = import.state == State::Receiving;
        if is_receiving && !declares(&import) {
            return Ok(());
        }
        match store::batches::by_batch_key(db, batch_key).await? {
            Some(_) => Ok(()),
            None if is_receiving => check_declared(&import, batch_key),
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
        let scope = TenantScope::from(&key.practice);
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

/// Enforces the minimum throughput of an upload: a number of bytes per period. Only
/// bytes of records start a new period; messages alone do not.
struct MinThroughput {
    settings: UploadSettings,
    until: Instant,
    bytes: u64,
}

impl MinThroughput {
    fn new(settings: UploadSettings) -> Self {
        Self { settings, until: Instant::now() + settings.idle_timeout, bytes: 0 }
    }

    /// The next message of the stream.
    async fn next(
        &self,
        messages: &mut (impl Stream<Item = Result<Message, ImportError>> + Unpin),
    ) -> Result<Message, ImportError> {
        match timeout_at(self.until, messages.next()).await {
            Ok(message) => message.ok_or(BatchError::Incomplete)?,
            Err(_) => Err(BatchError::Idle {
                bytes: self.settings.min_bytes,
                seconds: self.settings.idle_timeout.as_secs(),
            }
            .into()),
        }
    }

    fn record(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.bytes >= self.settings.min_bytes {
            *self = Self::new(self.settings);
        }
    }
}

/// Stages a batch, unless it is staged already. Locks the import, so that the second of
/// two equal concurrent uploads finds the first.
async fn stage_once(
    tx: &WriteTx,
    key: &ImportKey,
    receipt: &Receipt,
    records: &[Bytes],
) -> Result<Uploaded, ImportError> {
    let db = ImportDb::of(tx, key);
    let import = store::imports::lock(db).await?;
    let import = import.ok_or_else(|| import_not_found(key.id))?;
    match store::batches::by_batch_key(db, &receipt.batch_key).await? {
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
    store::imports::add_batch(db, receipt.staged_at).await?;
    store::batches::insert(db, &receipt).await?;
    store::staged::insert(db, receipt.ordinal, records).await?;
    store::counters::add(db, &staged(&receipt)).await?;
    seal_if_complete(tx, import, receipt.staged_at).await?;
    Ok(Uploaded { receipt, already_staged: false })
}

/// Whether the import declares its batches. Batches of replacements are never declared.
fn declares(import: &Import) -> bool {
    import.round == 1 && import.expected.is_some()
}

/// Rejects a batch that was not declared. With it the import would never match its
/// declaration, and never seal itself.
fn check_declared(import: &Import, batch_key: &str) -> Result<(), ImportError> {
    let expected = import.expected.as_ref().filter(|_| declares(import));
    let undeclared =
        expected.and_then(|expected| expected.undeclared(batch_key, import.batch_count));
    undeclared.map_or(Ok(()), |why| Err(batch_not_declared(batch_key, why).into()))
}

/// Seals an import whose declared content has arrived.
async fn seal_if_complete(
    tx: &WriteTx,
    import: Import,
    now: DateTime<Utc>,
) -> Result<(), ImportError> {
    let Some(expected) = import.expected.clone().filter(|_| import.round == 1) else {
        return Ok(());
    };
    let db = ImportDb::of(tx, &import.key);
    let batches = store::batches::of_round(db, import.round).await?;
    let keys: Vec<String> = batches.iter().map(|batch| batch.batch_key.clone()).collect();
    let records = batches.iter().map(|batch| batch.counts.records()).sum();
    if expected.is_complete(&keys, records) {
        let batch_count = i64::try_from(batches.len()).unwrap_or(i64::MAX);
        let import = Import { batch_count, ..import };
        store::imports::seal(&**tx, import, now, records == 0).await?;
    } else if let Some(declared) = expected.mismatched_records(&keys, records) {
        let note = format!(
            "{records} records have arrived, and {declared} were declared: seal the import as it \
             is, or cancel it"
        );
        store::imports::set_note(db, &note).await?;
    }
    Ok(())
}

/// The counters of a new batch: all records are staged.
fn staged(receipt: &Receipt) -> Counters {
    let counts = receipt.counts;
    let kinds = [
        (Kind::Client, counts.clients),
        (Kind::Contact, counts.contacts),
        (Kind::Address, counts.addresses),
        (Kind::Unknown, counts.unreadable),
    ];
    kinds.into_iter().map(|(kind, n)| (kind, Status::Staged, n)).collect()
}
