//! `ListImports`.

use concord_core::{caller::Caller, page};

use super::Imports;
use crate::{
    domain::import::{Import, ImportView},
    error::ImportError,
    store::{self, imports::ListFilter},
};

/// One page of imports.
#[derive(Debug)]
pub(crate) struct ImportsPage {
    pub(crate) imports: Vec<ImportView>,
    /// Empty on the last page.
    pub(crate) next_page_token: String,
}

impl Imports {
    /// A page of the practice's imports, newest first, by keyset pagination.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        filter: &ListFilter,
        size: u64,
        token: &str,
    ) -> Result<ImportsPage, ImportError> {
        let key = ("imports", caller.practice.as_str(), filter);
        let before = page::begin_after(token, &key)?;
        let db = self.db.reader_of(&caller.practice);
        let mut found = store::imports::list(db, filter, before, size + 1).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut budget = page::ResponseBudget::default();
        let fits = found.iter().take_while(|import| budget.try_take(declared_bytes(import)));
        let size = fits.count().min(size);
        let more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| more).map(|last| page::token(&key, &last.key.id));
        let mut imports = Vec::with_capacity(found.len());
        for import in found {
            let counters = store::counters::read(self.reader_of(&import.key)).await?;
            imports.push(ImportView { import, counters });
        }
        Ok(ImportsPage { imports, next_page_token: next.unwrap_or_default() })
    }
}

/// The approximate size of an import in a page, in bytes: it may declare many keys.
fn declared_bytes(import: &Import) -> usize {
    /// The approximate size of all other fields.
    const OTHER_BYTES: usize = 2_000;
    let keys = import.expected.iter().flat_map(|expected| &expected.batch_keys);
    OTHER_BYTES + keys.map(|key| key.len() + 4).sum::<usize>()
}
