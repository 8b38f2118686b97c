//! The operations of the service, one function per RPC.

mod connection_cache;
pub(crate) mod create;
mod download;
mod duplicates;
mod failures;
mod list;
mod resolve;
pub(crate) mod rounds;
mod seal;
mod support_log;
mod upload;
mod watch;

use std::sync::Arc;

use concord_core::{
    call_id::CallId,
    caller::Caller,
    clock::Clock,
    ids::{self, IdKind},
};
use concord_db::Database;
use concord_server::{
    Tenant,
    meter::{Meter, NONE, catalog},
    shares::{Ratio, Shares},
};
pub(crate) use create::{MAX_LABEL, NewImport};
pub(crate) use download::Format;
pub(crate) use duplicates::{DuplicateView, DuplicatesPage};
pub(crate) use failures::FailuresPage;
pub(crate) use list::ImportsPage;
pub(crate) use rounds::Retry;
use sea_orm::{DatabaseConnection, DatabaseTransaction};
pub(crate) use seal::SealCounts;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
pub(crate) use upload::{Header, Message, Uploaded};
use uuid::Uuid;
pub(crate) use watch::Progress;

use crate::{
    config::UploadSettings,
    domain::{
        enums::State,
        import::{Import, ImportKey, ImportView},
    },
    error::{ImportError, import_not_found, other_product},
    records_client::RecordsClient,
    store::{self, ImportDb},
};

/// Limit on the concurrent uploads of a process; each buffers one batch of 10 MiB at
/// most.
pub(crate) const MAX_UPLOADS: u64 = 12;

/// The share of the upload permits that one product of one practice may hold. A running
/// upload is not preempted, so each further tenant gets fewer permits. All practices of a
/// product, and all products of a practice, hold two thirds at most.
pub(crate) const UPLOADS_SHARE: Ratio = Ratio::new(1, 2);

/// The state that all RPCs share.
#[derive(Clone, Debug)]
pub(crate) struct Imports {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) records: RecordsClient,
    /// Wakes the worker of this replica.
    pub(crate) wake: Arc<Notify>,
    /// Cancelled when the service shuts down, so that streams end.
    pub(crate) stop: CancellationToken,
    /// The metrics.
    pub(crate) meter: Meter,
    uploads: Arc<Shares<Tenant>>,
    upload: UploadSettings,
    connection_cache: connection_cache::ConnectionCache,
}

impl Imports {
    pub(crate) fn new(
        db: Database,
        clock: Clock,
        records: RecordsClient,
        upload: UploadSettings,
        meter: Meter,
    ) -> Self {
        let uploads = Arc::new(Shares::new(MAX_UPLOADS, UPLOADS_SHARE));
        let taken = Arc::clone(&uploads);
        meter.on_scrape(move |meter| show_uploads(meter, taken.taken()));
        Self {
            db,
            clock,
            records,
            wake: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
            meter,
            uploads,
            upload,
            connection_cache: connection_cache::ConnectionCache::default(),
        }
    }

    /// The connections for reads of one import.
    pub(crate) fn reader_of<'a>(&'a self, key: &'a ImportKey) -> ImportDb<'a, DatabaseConnection> {
        ImportDb::reader_of(&self.db, key)
    }

    /// Rejects a caller whose product is not connected to the practice; `call` is the
    /// call that is being handled.
    pub(crate) async fn check_connected(
        &self,
        caller: &Caller,
        call: CallId,
    ) -> Result<(), ImportError> {
        self.connection_cache.check_connected(&self.records, caller, call).await
    }

    /// The import with its counters.
    pub(crate) async fn get(&self, caller: &Caller, id: Uuid) -> Result<ImportView, ImportError> {
        self.view(&key(caller, id)).await
    }

    /// Adds a note to a sealed import that waits for another import of its practice.
    async fn with_waiting_note(&self, import: Import) -> Result<Import, ImportError> {
        if import.state != State::Sealed || !import.note.is_empty() {
            return Ok(import);
        }
        let db = self.db.reader_of(&import.key.practice);
        let running = store::imports::find_running(db).await?;
        let note = match running {
            // A worker may have claimed this import since it was read.
            Some(other) if other != import.key.id => {
                let other = ids::text(IdKind::Import, other);
                format!("It waits for {other}: one import of a practice is at work at a time.")
            }
            _ => String::new(),
        };
        Ok(Import { note, ..import })
    }

    async fn view(&self, key: &ImportKey) -> Result<ImportView, ImportError> {
        let db = self.reader_of(key);
        let import = find(db).await?;
        let counters = store::counters::read(db).await?;
        let import = self.with_waiting_note(import).await?;
        Ok(ImportView { import, counters })
    }
}

fn show_uploads(meter: &Meter, taken: u64) {
    let gauge = |metric, count: u64| {
        meter.gauge(metric, NONE).set(u32::try_from(count).unwrap_or(u32::MAX));
    };
    gauge(&catalog::UPLOADS, taken);
    gauge(&catalog::UPLOADS_MAX, MAX_UPLOADS);
}

/// The key of that import in the caller's practice.
fn key(caller: &Caller, id: Uuid) -> ImportKey {
    ImportKey { practice: caller.practice.clone(), id }
}

/// Finds the import.
async fn find(db: ImportDb<'_, DatabaseConnection>) -> Result<Import, ImportError> {
    let import = store::imports::find(db).await?;
    import.ok_or_else(|| import_not_found(db.key().id).into())
}

/// Locks the import, and checks that the caller owns it.
async fn lock_owned(
    db: ImportDb<'_, DatabaseTransaction>,
    caller: &Caller,
) -> Result<Import, ImportError> {
    let import = store::imports::lock(db).await?;
    let import = import.ok_or_else(|| import_not_found(db.key().id))?;
    check_owner(caller, &import)?;
    Ok(import)
}

/// Checks that the caller owns the import: the whole practice may read it, but only its
/// own product and account may change it.
fn check_owner(caller: &Caller, import: &Import) -> Result<(), ImportError> {
    let own =
        caller.product.as_str() == import.product && caller.account.as_str() == import.account;
    if own { Ok(()) } else { Err(other_product(&import.product, &import.account).into()) }
}
