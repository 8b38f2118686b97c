//! After a backup was restored.
//!
//! The changes that came after the backup are gone, and others will stand at their
//! positions. Most cursors notice it by themselves, but not all: of a backlog that
//! was waiting for its positions, the same change may come to the same position
//! after others than before. And a subscription that goes by its name notices
//! nothing, because its place was restored too. So all feeds begin a new epoch.

use shared::db::{Database, DatabaseSettings, Scope, TablesError};

use crate::{error::RecordError, migrations::Migrator, store::feed::renewal};

/// What begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Feeds of products.
    pub feeds: u64,
    /// Subscriptions with a name.
    pub subscriptions: u64,
}

/// The records were restored, and not told so.
#[derive(Debug, thiserror::Error)]
pub enum RestoredError {
    /// The tables are not those of this program.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The database failed.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// Has every feed of a database begin anew, so that each subscriber takes a
/// snapshot: for a database that was restored, before the service is started.
///
/// # Errors
///
/// When the database cannot be reached or changed, or its tables are not up to
/// date.
pub async fn restored(database: DatabaseSettings) -> Result<Renewed, RestoredError> {
    let db = Database::connect(&database).await.map_err(TablesError::from)?;
    db.check_tables::<Migrator>().await?;
    let renewed = db.write(Scope::AllPractices, |tx| async move {
        let feeds = renewal::begin_epochs(&*tx).await?;
        let subscriptions = renewal::forget_places(&*tx).await?;
        Ok::<_, RecordError>(Renewed { feeds, subscriptions })
    });
    let renewed = renewed.await.map_err(|error| RestoredError::Failed(error.to_string()))?;
    db.close().await.map_err(TablesError::from)?;
    Ok(renewed)
}
