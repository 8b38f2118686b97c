//! Erases the uploads of erased records in imports that no worker has claimed.

use std::sync::Arc;

use concord_core::{caller::PracticeId, ids};
use concord_db::TenantScope;
use concord_server::jobs::{JobError, Subject};

use super::{ERASE_RECORDS, Jobs};
use crate::{
    domain::{enums::State, import::ImportKey},
    erasure::{Erasures, ROWS_PER_TX},
    error::ImportError,
    records_client::{CallError, behalf_of},
    service::Imports,
    store::{
        self, ImportDb,
        erasure::{ErasedRow, ImportWithUploads},
    },
};

/// Imports read in one query.
const PAGE: u64 = 200;

impl Jobs {
    /// Scans the imports for records that were erased since their last scan. Returns true
    /// if there may be more.
    pub(super) async fn erase_records(&mut self) -> bool {
        let now = self.imports.clock.now();
        let (mut after, mut more): (Option<ImportKey>, bool) = (None, false);
        // The head of the current practice's erasures: one call is enough if nothing
        // was erased.
        let mut head: Option<(PracticeId, i64)> = None;
        while !self.imports.stop.is_cancelled() {
            let db = self.imports.db.reader();
            let page = store::erasure::with_uploads(db, after.as_ref(), PAGE).await;
            let page = self.failures.record(ERASE_RECORDS, Subject::default(), page, now);
            let Some(page) = page.filter(|page| !page.is_empty()) else { break };
            after = page.last().map(|import| import.key.clone());
            for import in page {
                let subject = Subject {
                    practice: Some(import.key.practice.to_string()),
                    record: Some(ids::text(ids::IdKind::Import, import.key.id)),
                    product: None,
                };
                let is_known = head.as_ref().is_some_and(|(practice, head)| {
                    *practice == import.key.practice && *head == import.known_erasure
                });
                if is_known || self.failures.is_backing_off(ERASE_RECORDS, &subject, now) {
                    continue;
                }
                let erased = erase_in(&self.imports, &import).await;
                let unreachable = erased.as_ref().is_err_and(JobError::is_transient);
                let erased = self.failures.record(ERASE_RECORDS, subject, erased, now);
                if let Some(progress) = erased {
                    more |= progress.more;
                    head = (!progress.more).then_some((import.key.practice, progress.known));
                }
                if unreachable {
                    // The other imports would run into the same timeout.
                    return false;
                }
            }
        }
        more
    }
}

/// Why the scan of an import failed.
#[derive(Debug, thiserror::Error)]
enum EraseError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Internal(#[from] ImportError),
}

impl JobError for EraseError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Call(error) => error.is_transient(),
            Self::Internal(error) => error.is_transient(),
        }
    }
}

/// How far an import was scanned.
struct ScanProgress {
    /// The position of the last erasure that was processed.
    known: i64,
    /// Whether later erasures exist.
    more: bool,
}

/// Erases what an import contains of erased records.
async fn erase_in(
    imports: &Imports,
    import: &ImportWithUploads,
) -> Result<ScanProgress, EraseError> {
    let ImportWithUploads { key, known_erasure } = import;
    let import = store::imports::find(imports.reader_of(key)).await?;
    let import = import.ok_or(ImportError::Corrupt("missing import"))?;
    let behalf = behalf_of(&import);
    let erasures =
        Erasures::fetch(&imports.records, &behalf, *known_erasure, import.created_at).await?;
    let (known, more, record_ids) = (erasures.known, erasures.more, erasures.record_ids());
    let progress = ScanProgress { known, more };
    if known == *known_erasure {
        return Ok(progress);
    }
    let rows =
        if erasures.is_empty() { Vec::new() } else { erasures.find(imports, &import).await? };
    for rows in rows.chunks(ROWS_PER_TX) {
        if !write(imports, key, Arc::new(Erase::Rows(rows.to_vec()))).await? {
            return Ok(progress);
        }
    }
    let external = Arc::new(Erase::External { record_ids, known });
    if write(imports, key, external).await? && !rows.is_empty() {
        imports.db.request_erasure();
        let import = ids::text(ids::IdKind::Import, key.id);
        tracing::info!(import, count = rows.len(), "erased uploaded records");
    }
    Ok(progress)
}

/// What one transaction erases.
enum Erase {
    Rows(Vec<ErasedRow>),
    External { record_ids: Vec<String>, known: i64 },
}

/// Erases in an import; false if a worker has claimed it meanwhile, and erases it
/// itself.
async fn write(imports: &Imports, key: &ImportKey, erase: Arc<Erase>) -> Result<bool, ImportError> {
    let key = key.clone();
    let written = imports.db.write(TenantScope::from(&key.practice), move |tx| {
        let (key, erase) = (key.clone(), Arc::clone(&erase));
        async move {
            let db = ImportDb::of(&tx, &key);
            let import = store::imports::lock(db).await?;
            let running = [State::Resolving, State::Applying];
            match import.filter(|import| !running.contains(&import.state)) {
                None => return Ok(false),
                // Its uploads are purged, or being purged.
                Some(import) if import.is_removed() => {}
                Some(_) => match &*erase {
                    Erase::Rows(rows) => store::erasure::erase(db, rows).await?,
                    Erase::External { record_ids, known } => {
                        store::erasure::erase_external(db, record_ids).await?;
                        store::erasure::set_known_erasure(db, *known).await?;
                    }
                },
            }
            Ok::<_, ImportError>(true)
        }
    });
    written.await
}
