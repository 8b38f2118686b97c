//! What the calls do: one function for each.

mod connected;
pub(crate) mod create;
mod download;
mod duplicates;
mod failures;
mod list;
mod names;
pub(crate) mod rounds;
mod seal;
mod support_log;
mod upload;
mod watch;

use std::sync::Arc;

pub(crate) use create::{MAX_LABEL, NewImport};
pub(crate) use download::Format;
pub(crate) use duplicates::{Suggestion, SuggestionsPage};
pub(crate) use failures::{Failure, FailuresPage};
pub(crate) use list::ImportsPage;
pub(crate) use rounds::Retry;
pub(crate) use seal::Announced;
use shared::{
    caller::{Caller, PracticeId, Product},
    clock::Clock,
    db::Database,
    ids::{self, IdKind},
    meter::{Meter, NONE, catalog},
    shares::{Ratio, Sharer, Shares},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
pub(crate) use upload::{Header, Message, Uploaded};
use uuid::Uuid;
pub(crate) use watch::Progress;

use crate::{
    config::UploadSettings,
    domain::{
        import::{Import, ImportKey, ImportView},
        words::State,
    },
    error::{ImportError, import_not_found, other_product},
    records_client::RecordsClient,
    store,
};

/// Batches in the memory of a process at the same time, 10 MiB at most each.
pub(crate) const MAX_UPLOADS: u64 = 8;

/// What one product in one practice may have of them. An upload cannot be taken back, so
/// each further uploader finds fewer.
pub(crate) const UPLOADS_SHARE: Ratio = Ratio::EQUAL;

/// Whose batches they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Uploader(PracticeId, Product);

impl Sharer for Uploader {}

/// What every call needs.
#[derive(Clone, Debug)]
pub(crate) struct Imports {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    pub(crate) records: RecordsClient,
    /// Wakes the worker of this replica.
    pub(crate) wake: Arc<Notify>,
    /// Cancelled when the service stops: streams end.
    pub(crate) stop: CancellationToken,
    /// What is counted.
    pub(crate) meter: Meter,
    uploads: Arc<Shares<Uploader>>,
    upload: UploadSettings,
    seen_connected: connected::SeenConnected,
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
        meter.at_each_reading(move |meter| show_uploads(meter, taken.taken()));
        Self {
            db,
            clock,
            records,
            wake: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
            meter,
            uploads,
            upload,
            seen_connected: connected::SeenConnected::default(),
        }
    }

    /// The import with its numbers.
    pub(crate) async fn get(&self, caller: &Caller, id: Uuid) -> Result<ImportView, ImportError> {
        self.view(&key(caller, id)).await
    }

    /// An import that waits for another one of its practice says so.
    async fn with_note(&self, import: Import) -> Result<Import, ImportError> {
        if import.state != State::Sealed || !import.note.is_empty() {
            return Ok(import);
        }
        let at_work = store::imports::at_work(self.db.reader(), &import.key.practice).await?;
        let note = match at_work {
            // A worker may have taken up this one since it was read.
            Some(other) if other != import.key.id => {
                let other = ids::text(IdKind::Import, other);
                format!("It waits for {other}: one import of a practice is at work at a time.")
            }
            _ => String::new(),
        };
        Ok(Import { note, ..import })
    }

    async fn view(&self, key: &ImportKey) -> Result<ImportView, ImportError> {
        let import = store::imports::find(self.db.reader(), key).await?;
        let import = import.ok_or_else(|| import_not_found(key.id))?;
        let tally = store::tally::read(self.db.reader(), key).await?;
        let import = self.with_note(import).await?;
        Ok(ImportView { import, tally })
    }
}

fn show_uploads(meter: &Meter, taken: u64) {
    let gauge = |metric, count: u64| {
        meter.gauge(metric, NONE).set(u32::try_from(count).unwrap_or(u32::MAX));
    };
    gauge(&catalog::UPLOADS, taken);
    gauge(&catalog::UPLOADS_MAX, MAX_UPLOADS);
}

/// The import of that id in the caller's practice.
fn key(caller: &Caller, id: Uuid) -> ImportKey {
    ImportKey { practice: caller.practice.clone(), id }
}

/// An import is read by the whole practice, and changed by its own product and
/// account.
fn check_owner(caller: &Caller, import: &Import) -> Result<(), ImportError> {
    let own =
        caller.product.as_str() == import.product && caller.account.as_str() == import.account;
    if own { Ok(()) } else { Err(other_product(&import.product, &import.account).into()) }
}
