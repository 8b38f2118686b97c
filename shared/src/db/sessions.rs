//! The sessions of PostgreSQL that a pool keeps, after a failover.
//!
//! A demoted primary still answers reads, and refuses every write, on the sessions that
//! were already open. A session that was made read-only does the same. A write queries
//! its session first. When the session is read-only, a new session is opened outside
//! the pool. If the new session can write, the sessions of the pool are outdated, and
//! all of them are closed instead of being reused. If it cannot, the database itself is
//! read-only, and the sessions of the pool are kept for reads.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use sea_orm::{
    ConnectOptions, DatabaseConnection,
    sqlx::{self, Connection as _, PgConnection},
};
use tokio::sync::watch;

/// Whether a session can write; one of a standby cannot.
const WRITES: &str = "SELECT current_setting('transaction_read_only') = 'off'";

/// Which sessions of a pool may be given out.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those that were opened before are closed.
    renewed: Mutex<Option<Instant>>,
    /// Notifies long-term holders of a session.
    renewals: watch::Sender<()>,
    /// One at a time asks whether new sessions can write.
    turn: tokio::sync::Mutex<()>,
}

impl Sessions {
    /// Has a pool close what may not be given out.
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

    /// Closes the sessions that are open now, each when it is asked for again.
    pub(super) fn renew(&self) {
        *self.0.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.renewals.send_replace(());
    }

    /// Changes whenever the sessions that were open are closed.
    pub(super) fn renewals(&self) -> watch::Receiver<()> {
        self.0.renewals.subscribe()
    }

    /// Renews the sessions of `pool` if that helps: one that was in use since `begun` is
    /// read-only. Whether it may be tried again with another one.
    pub(super) async fn renew_if_writable(
        &self,
        pool: &DatabaseConnection,
        begun: Instant,
    ) -> bool {
        let _turn = self.0.turn.lock().await;
        if self.renewed().is_some_and(|renewed| renewed > begun) {
            return true;
        }
        let pool = pool.get_postgres_connection_pool();
        let (options, patience) = (pool.connect_options(), pool.options().get_acquire_timeout());
        let asked = async {
            let mut session = PgConnection::connect_with(&options).await?;
            let writes = writes(&mut session).await?;
            // Politely: the server would log that the client has gone.
            session.close().await?;
            Ok::<_, sqlx::Error>(writes)
        };
        let writes = matches!(tokio::time::timeout(patience, asked).await, Ok(Ok(true)));
        if writes {
            tracing::warn!("sessions are read-only, and new ones are not: they are renewed");
            self.renew();
        }
        writes
    }
}

/// Whether a session can write.
pub(super) async fn writes(session: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(WRITES).fetch_one(session).await
}
