//! Updates of the lease of a running import: renewal, release and notes.

use concord_db::TenantScope;
use concord_server::meter::{NONE, catalog};

use super::Job;
use crate::{
    config::WorkerSettings,
    service::Imports,
    store::{self, lease::Lease},
    worker::page_context::PageContext,
};

impl Job {
    /// Sets the note of the import, which says what is wrong, and extends the lease.
    pub(super) async fn set_note(&self, note: &'static str) {
        let until = self.context.imports.clock.now() + self.context.settings.lease;
        self.update_lease(move |tx, lease| async move {
            store::lease::renew(&*tx, &lease, until, Some(note)).await
        })
        .await;
    }

    /// Stalls the import, with a note.
    pub(super) async fn stall(&self, note: &'static str) {
        self.context.imports.meter.counter(&catalog::IMPORTS_STALLED, NONE).increment(1);
        let until = self.context.imports.clock.now() + self.context.settings.stalled_backoff;
        self.update_lease(move |tx, lease| async move {
            store::lease::stall(&*tx, &lease, until, note).await
        })
        .await;
    }

    /// Releases the lease, so that any worker can claim the import.
    pub(super) async fn release(&self) {
        let now = self.context.imports.clock.now();
        self.update_lease(move |tx, lease| async move {
            store::lease::release(&*tx, &lease, now).await
        })
        .await;
    }

    /// Releases the lease, and raises its token above all fences that the records
    /// service has seen.
    pub(super) async fn release_with_raised_token(&self) {
        let until = self.context.imports.clock.now() + self.context.settings.poll_every;
        self.update_lease(move |tx, lease| async move {
            store::lease::release_with_raised_token(&*tx, &lease, until).await
        })
        .await;
    }

    /// Updates the lease. If that fails, the lease expires.
    async fn update_lease<F, Fut>(&self, change: F)
    where
        F: Fn(concord_db::WriteTx, Lease) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, sea_orm::DbErr>> + Send + 'static,
    {
        let PageContext { imports, lease, .. } = &self.context;
        let (practice, lease) = (&lease.import.key.practice, lease.clone());
        let changed = imports.db.write(practice, move |tx| change(tx, lease.clone()));
        if let Err(error) = changed.await {
            let error = concord_db::redacted(&error);
            tracing::warn!(import = self.context.name(), %error, "lease update failed");
        }
    }
}

/// Renews the lease at an interval, for pages that take long. Returns when the lease is
/// lost.
pub(super) async fn renew_until_lost(imports: Imports, settings: WorkerSettings, lease: Lease) {
    loop {
        tokio::time::sleep(settings.renew_every).await;
        let (until, lease) = (imports.clock.now() + settings.lease, lease.clone());
        let renewed = imports.db.write(TenantScope::from(&lease.import.key.practice), move |tx| {
            let lease = lease.clone();
            async move { store::lease::renew(&*tx, &lease, until, None).await }
        });
        if let Ok(false) = renewed.await {
            return;
        }
    }
}
