//! `CreateImport`.

use concord_core::{caller::Caller, ids};

use super::Imports;
use crate::{
    domain::{
        counters::Counters,
        enums::{Phase, State},
        import::{Expected, Import, ImportKey, ImportView},
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
        let now = self.clock.now();
        let import = Import {
            key: ImportKey { practice: caller.practice.clone(), id: ids::new_uuid() },
            product: caller.product.to_string(),
            account: caller.account.to_string(),
            label,
            created_by: caller.user.clone(),
            state: State::Receiving,
            round: 1,
            validate_only,
            expected,
            cancel_requested: false,
            ended_before: None,
            phase: Phase::Index,
            position: String::new(),
            note: String::new(),
            batch_count: 0,
            possible_duplicates: 0,
            created_at: now,
            touched_at: now,
            sealed_at: None,
            ended_at: None,
            purged_at: None,
        };
        let created = import.clone();
        let written = self.db.write(&caller.practice, move |tx| {
            let import = import.clone();
            async move {
                if store::imports::count_open(&*tx, &import.key.practice).await? >= MAX_OPEN {
                    return Err(ImportError::from(too_many_open(MAX_OPEN)));
                }
                Ok(store::imports::insert(&*tx, import).await?)
            }
        });
        written.await?;
        Ok(ImportView { import: created, counters: Counters::default() })
    }
}
