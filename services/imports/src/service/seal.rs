//! `SealImport`.

use concord_core::caller::Caller;
use concord_db::TenantScope;
use uuid::Uuid;

use super::{Imports, key, lock_owned};
use crate::{
    domain::{
        batch::KindCounts,
        enums::State,
        import::{ImportView, Receipt},
    },
    error::{ImportError, counts_differ, wrong_state},
    store::{self, ImportDb},
};

/// The counts that the caller expects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealCounts {
    pub(crate) batches: i64,
    pub(crate) records: i64,
    pub(crate) clients: Option<i64>,
    pub(crate) contacts: Option<i64>,
    pub(crate) addresses: Option<i64>,
}

impl SealCounts {
    /// The differences between the counts and what arrived in the round: subject,
    /// announced, arrived.
    fn differences(&self, batches: &[Receipt]) -> Vec<(&'static str, i64, i64)> {
        let sum = |count: fn(&KindCounts) -> i64| batches.iter().map(|b| count(&b.counts)).sum();
        let arrived = i64::try_from(batches.len()).unwrap_or(i64::MAX);
        let compared = [
            ("batch_count", Some(self.batches), arrived),
            ("record_count", Some(self.records), sum(KindCounts::records)),
            ("client_count", self.clients, sum(|counts| counts.clients)),
            ("contact_count", self.contacts, sum(|counts| counts.contacts)),
            ("address_count", self.addresses, sum(|counts| counts.addresses)),
        ];
        let differs = |(subject, announced, arrived): (_, Option<i64>, i64)| {
            announced.filter(|announced| *announced != arrived).map(|n| (subject, n, arrived))
        };
        compared.into_iter().filter_map(differs).collect()
    }
}

impl Imports {
    /// Seals the import if the counts match what arrived. Idempotent: a repeated call
    /// changes nothing.
    pub(crate) async fn seal(
        &self,
        caller: &Caller,
        id: Uuid,
        seal_counts: SealCounts,
    ) -> Result<ImportView, ImportError> {
        let (key, caller, now) = (key(caller, id), caller.clone(), self.clock.now());
        let sealed = self.db.write(TenantScope::from(&caller.practice), move |tx| {
            let (key, caller) = (key.clone(), caller.clone());
            async move {
                let db = ImportDb::of(&tx, &key);
                let import = lock_owned(db, &caller).await?;
                if import.state.is_end() && import.sealed_at.is_none() {
                    return Err(wrong_state(key.id, import.state, "RECEIVING").into());
                }
                let counters = store::counters::read(db).await?;
                let batches = store::batches::of_round(db, import.round).await?;
                let differences = seal_counts.differences(&batches);
                if !differences.is_empty() {
                    return Err(counts_differ(&differences).into());
                }
                if import.state != State::Receiving {
                    return Ok(ImportView { import, counters });
                }
                let empty = import.round == 1 && counters.received(None) == 0;
                let import = store::imports::seal(&*tx, import, now, empty).await?;
                Ok::<_, ImportError>(ImportView { import, counters })
            }
        });
        let sealed = sealed.await?;
        self.wake.notify_one();
        Ok(sealed)
    }
}
