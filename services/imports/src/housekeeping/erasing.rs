//! What was uploaded of erased records, of imports that no worker has.

use std::sync::Arc;

use shared::{caller::PracticeId, db::Scope, ids, jobs::Subject};

use super::{ERASE_RECORDS, Housekeeping};
use crate::{
    domain::{import::ImportKey, words::State},
    erasure::{Erasures, ROWS},
    error::ImportError,
    records_client::{CallFault, behalf_of},
    service::Imports,
    store::{
        self,
        erasure::{ErasedRow, Holding},
    },
};

/// Imports that are read together.
const PAGE: u64 = 200;

impl Housekeeping {
    /// Looks through the imports for what was erased since; whether there may be more.
    pub(super) async fn erase_records(&mut self) -> bool {
        let now = self.imports.clock.now();
        let (mut after, mut more): (Option<ImportKey>, bool) = (None, false);
        // Of the practice at hand: one call is enough when nothing was erased.
        let mut head: Option<(PracticeId, i64)> = None;
        while !self.imports.stop.is_cancelled() {
            let db = self.imports.db.reader();
            let page = store::erasure::holding(db, after.as_ref(), PAGE).await;
            let page = self.failures.note(ERASE_RECORDS, Subject::default(), page, now);
            let Some(page) = page.filter(|page| !page.is_empty()) else { break };
            after = page.last().map(|holding| holding.key.clone());
            for holding in page {
                let subject = Subject {
                    practice: Some(holding.key.practice.to_string()),
                    record: Some(ids::text(ids::IdKind::Import, holding.key.id)),
                    product: None,
                };
                let is_known = head.as_ref().is_some_and(|(practice, head)| {
                    *practice == holding.key.practice && *head == holding.known_erasure
                });
                if is_known || self.failures.waits(ERASE_RECORDS, &subject, now) {
                    continue;
                }
                let erased: Result<Looked, EraseFault> = erase_in(&self.imports, &holding).await;
                let unreachable = erased.as_ref().is_err_and(shared::jobs::JobError::is_passing);
                let erased = self.failures.note(ERASE_RECORDS, subject, erased, now);
                if let Some(looked) = erased {
                    more |= looked.more;
                    head = (!looked.more).then_some((holding.key.practice, looked.known));
                }
                if unreachable {
                    // The others would wait as long as this one did.
                    return false;
                }
            }
        }
        more
    }
}

/// Why what was uploaded could not be looked through.
#[derive(Debug, thiserror::Error)]
enum EraseFault {
    #[error(transparent)]
    Call(#[from] CallFault),
    #[error(transparent)]
    Own(#[from] ImportError),
}

impl shared::jobs::JobError for EraseFault {
    fn is_passing(&self) -> bool {
        match self {
            Self::Call(fault) => fault.is_passing(),
            Self::Own(error) => error.is_passing(),
        }
    }
}

/// How far an import was looked through.
struct Looked {
    /// The last erasure that it knows.
    known: i64,
    /// Whether there are later ones.
    more: bool,
}

/// Erases what an import has of records that were erased.
async fn erase_in(imports: &Imports, holding: &Holding) -> Result<Looked, EraseFault> {
    let Holding { key, known_erasure } = holding;
    let import = store::imports::find(imports.db.reader(), key).await?;
    let import = import.ok_or(ImportError::Corrupt("an import that is gone"))?;
    let behalf = behalf_of(&import);
    let erasures =
        Erasures::fetch(&imports.records, &behalf, *known_erasure, import.created_at).await?;
    let (known, more, record_ids) = (erasures.known, erasures.more, erasures.record_ids());
    let looked = Looked { known, more };
    if known == *known_erasure {
        return Ok(looked);
    }
    let rows =
        if erasures.is_empty() { Vec::new() } else { erasures.find(imports, &import).await? };
    for rows in rows.chunks(ROWS) {
        if !write(imports, key, Arc::new(Erase::Rows(rows.to_vec()))).await? {
            return Ok(looked);
        }
    }
    let others = Arc::new(Erase::Others { record_ids, known });
    if write(imports, key, others).await? && !rows.is_empty() {
        imports.db.erased();
        let import = ids::text(ids::IdKind::Import, key.id);
        tracing::info!(import, count = rows.len(), "uploaded records were erased");
    }
    Ok(looked)
}

/// What is written in one transaction.
enum Erase {
    Rows(Vec<ErasedRow>),
    Others { record_ids: Vec<String>, known: i64 },
}

/// Erases in an import; `false` when a worker has claimed it meanwhile, and erases it.
async fn write(imports: &Imports, key: &ImportKey, erase: Arc<Erase>) -> Result<bool, ImportError> {
    let key = key.clone();
    let written = imports.db.write(Scope::from(&key.practice), move |tx| {
        let (key, erase) = (key.clone(), Arc::clone(&erase));
        async move {
            let import = store::imports::lock(&*tx, &key).await?;
            let at_work = [State::Resolving, State::Applying];
            match import.filter(|import| !at_work.contains(&import.state)) {
                None => return Ok(false),
                // All of it is removed, or being removed.
                Some(import) if import.is_removed() => {}
                Some(_) => match &*erase {
                    Erase::Rows(rows) => store::erasure::erase(&*tx, &key, rows).await?,
                    Erase::Others { record_ids, known } => {
                        store::erasure::erase_others(&*tx, &key, record_ids).await?;
                        store::erasure::note_known(&*tx, &key, *known).await?;
                    }
                },
            }
            Ok::<_, ImportError>(true)
        }
    });
    written.await
}
