//! `CreateImport`.

use concord_core::{caller::Caller, ids};

use super::Imports;
use crate::{
    domain::{
        counters::Counters,
        import::{Expected, Import, ImportView},
    },
    error::{ImportError, too_many_open},
    store,
};

/// Limit on the length of a label, in characters.
pub(crate) const MAX_LABEL: usize = 100;

/// Limit on the unsealed imports of a practice. More of them indicate a client that
/// never seals.
pub(crate) const MAX_OPEN: u64 = 20;

/// The arguments of `CreateImport`.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewImport {
    pub(crate) label: String,
    pub(crate) validate_only: bool,
    pub(crate) expected: Option<Expected>,
}

impl Imports {
    /// Creates an import for the caller's product and account.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        wanted: NewImport,
    ) -> Result<ImportView, ImportError> {
        let NewImport { label, validate_only, expected } = wanted;
        let import = Import::new(caller, ids::new_uuid(), self.clock.now());
        let import = Import { label, validate_only, expected, ..import };
        let created = import.clone();
        let written = self.db.write(&caller.practice, move |tx| {
            let import = import.clone();
            async move {
                let db = tx.of(&import.key.practice);
                if store::imports::count_open(db).await? >= MAX_OPEN {
                    return Err(ImportError::from(too_many_open(MAX_OPEN)));
                }
                Ok(store::imports::insert(&*tx, import).await?)
            }
        });
        written.await?;
        Ok(ImportView { import: created, counters: Counters::default() })
    }
}
