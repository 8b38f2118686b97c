//! The lease of an import at work: kept, given back, or left with a note.

use shared::{
    db::Scope,
    meter::{NONE, catalog},
};

use super::Job;
use crate::{
    config::WorkerSettings,
    service::Imports,
    store::{self, lease::Lease},
};

impl Job {
    /// Tells people at the import what goes wrong, and keeps it.
    pub(super) async fn note(&self, note: &'static str) {
        let until = self.imports.clock.now() + self.settings.lease;
        self.quietly(move |tx, lease| async move {
            store::lease::renew(&*tx, &lease, until, Some(note)).await
        })
        .await;
    }

    /// Sets the import aside for a while, with a note.
    pub(super) async fn set_aside(&self, note: &'static str) {
        self.imports.meter.counter(&catalog::IMPORTS_STALLED, NONE).increment(1);
        let until = self.imports.clock.now() + self.settings.rest;
        self.quietly(move |tx, lease| async move {
            store::lease::stall(&*tx, &lease, until, note).await
        })
        .await;
    }

    /// Leaves the import to whoever comes next.
    pub(super) async fn release(&self) {
        let now = self.imports.clock.now();
        self.quietly(
            move |tx, lease| async move { store::lease::release(&*tx, &lease, now).await },
        )
        .await;
    }

    /// Leaves the import to a lease with a fence above all that the records service
    /// has seen.
    pub(super) async fn release_above(&self) {
        let until = self.imports.clock.now() + self.settings.poll_every;
        self.quietly(move |tx, lease| async move {
            store::lease::release_above(&*tx, &lease, until).await
        })
        .await;
    }

    /// Changes the lease. When that fails, the lease ends by itself.
    async fn quietly<F, Fut>(&self, change: F)
    where
        F: Fn(shared::db::WriteTx, Lease) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, sea_orm::DbErr>> + Send + 'static,
    {
        let lease = self.lease.clone();
        let changed =
            self.imports.db.write(&self.key().practice, move |tx| change(tx, lease.clone())).await;
        if let Err(error) = changed {
            let error = shared::db::plainly(&error);
            tracing::warn!(import = self.name(), %error, "a lease was not changed");
        }
    }
}

/// Renews the lease now and then, for the pages that take long. Ends when it is
/// another's.
pub(super) async fn keep(imports: Imports, settings: WorkerSettings, lease: Lease) {
    loop {
        tokio::time::sleep(settings.renew_every).await;
        let (until, lease) = (imports.clock.now() + settings.lease, lease.clone());
        let renewed = imports.db.write(Scope::from(&lease.import.key.practice), move |tx| {
            let lease = lease.clone();
            async move { store::lease::renew(&*tx, &lease, until, None).await }
        });
        if let Ok(false) = renewed.await {
            return;
        }
    }
}
