//! Starts new epochs of all feeds after a backup was restored.
//!
//! The changes after the backup are lost, and other changes will get their positions.
//! Most cursors detect it, but not all: a change of the backlog may get the same position
//! again, after other changes than before. A subscription that resumes by its name
//! detects nothing, because its stored position was restored too.

use concord_db::{Database, DatabaseSettings, SchemaError, TenantScope};

use crate::{error::RecordError, migrations::Migrator, store::feed::restore};

/// What has to restart from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartedFeeds {
    /// Feeds of products.
    pub feeds: u64,
    /// Named subscriptions.
    pub subscriptions: u64,
}

/// Why the new epochs were not started.
#[derive(Debug, thiserror::Error)]
pub enum PostRestoreError {
    /// The schema is behind, or incompatible.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database failed.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// Starts a new epoch of every feed, so that each subscriber takes a snapshot. Run it on a
/// restored database before the service is started.
///
/// # Errors
///
/// When the database cannot be reached or changed, or its schema is behind.
pub async fn post_restore(database: DatabaseSettings) -> Result<RestartedFeeds, PostRestoreError> {
    let db = Database::connect(&database).await.map_err(SchemaError::from)?;
    db.check_schema::<Migrator>().await?;
    let restarted = db.write(TenantScope::AllPractices, |tx| async move {
        let feeds = restore::renew_epochs(&*tx).await?;
        let subscriptions = restore::reset_positions(&*tx).await?;
        Ok::<_, RecordError>(RestartedFeeds { feeds, subscriptions })
    });
    let restarted = restarted.await.map_err(|error| PostRestoreError::Failed(error.to_string()))?;
    db.close().await.map_err(SchemaError::from)?;
    Ok(restarted)
}
