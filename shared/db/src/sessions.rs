//! Renewal of the pooled sessions of PostgreSQL after a failover.
//!
//! On sessions that are already open a demoted primary still serves reads, and rejects
//! every write. A session that was made read-only does the same. A write queries its
//! session first. If the session is read-only, a new session is opened outside the pool. If
//! the new session can write, the sessions of the pool are stale, and all of them are
//! closed instead of being reused. If it cannot, the database itself is read-only, and the
//! pool keeps its sessions for reads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use sea_orm::{
    ConnectOptions, DatabaseConnection,
    sqlx::{self, Connection as _, PgConnection},
};
use tokio::sync::watch;

/// Queries whether a session can write; a session of a standby cannot.
const CAN_WRITE: &str = "SELECT current_setting('transaction_read_only') = 'off'";

/// The validity of the sessions of a pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Sessions that were opened before this instant are closed.
    renewed: Mutex<Option<Instant>>,
    /// Notifies long-term holders of a session.
    renewals: watch::Sender<()>,
    /// Held while a task checks whether new sessions can write.
    check: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// Makes a pool close stale sessions.
    pub(super) fn guard(&self, options: &mut ConnectOptions) {
        let sessions = self.clone();
        options.map_sqlx_postgres_before_acquire(move |_, session| {
            let opened = Instant::now().checked_sub(session.age);
            let current = sessions.renewed().is_none_or(|renewed| opened > Some(renewed));
            Box::pin(async move { Ok(current) })
        });
    }

    fn renewed(&self) -> Option<Instant> {
        *self.0.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Invalidates the open sessions. Each is closed at its next acquisition.
    pub(super) fn renew(&self) {
        *self.0.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.renewals.send_replace(());
    }

    /// Notifies of each renewal.
    pub(super) fn renewals(&self) -> watch::Receiver<()> {
        self.0.renewals.subscribe()
    }

    /// Renews the sessions of `pool` if a new session can write, after a session that was
    /// acquired at `begun` proved read-only. Returns `true` if a retry may succeed.
    pub(super) async fn renew_if_writable(
        &self,
        pool: &DatabaseConnection,
        begun: Instant,
    ) -> bool {
        let _check = self.0.check.lock().await;
        if self.renewed().is_some_and(|renewed| renewed > begun) {
            return true;
        }
        let pool = pool.get_postgres_connection_pool();
        let (options, time) = (pool.connect_options(), pool.options().get_acquire_timeout());
        let asked = async {
            let mut session = PgConnection::connect_with(&options).await?;
            let can_write = can_write(&mut session).await?;
            // Closed gracefully, or the server would log a lost client.
            session.close().await?;
            Ok::<_, sqlx::Error>(can_write)
        };
        let can_write = matches!(tokio::time::timeout(time, asked).await, Ok(Ok(true)));
        if can_write {
            tracing::warn!("pooled sessions are read-only and new ones are not: renewing them");
            self.renew();
        }
        can_write
    }
}

/// Returns `true` if a session can write.
pub(super) async fn can_write(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(CAN_WRITE).fetch_one(session).await
}
