//! After a backup was restored.
//!
//! The records service refuses calls of an import that come with a lower fence than
//! it has seen, and it has seen those of the leases since the backup. So all leases
//! are taken away, and the next ones have tokens that no lease has had.

use shared::db::{Database, DatabaseSettings, Scope, TablesError};

use crate::{
    migrations::Migrator,
    store::{erasure, lease},
};

/// Has the imports of a database go on with new leases; how many have not ended.
/// For a database that was restored, before the service is started.
///
/// # Errors
///
/// When the database cannot be reached or changed, or its tables are not up to
/// date.
pub async fn restored(database: DatabaseSettings) -> Result<u64, TablesError> {
    let db = Database::connect(&database).await?;
    db.check_tables::<Migrator>().await?;
    let freed = db.write(Scope::AllPractices, |tx| async move {
        // Either database may have been restored: what was uploaded is looked through again.
        erasure::forget_known(&*tx).await?;
        lease::begin_anew(&*tx).await
    });
    let freed = freed.await?;
    db.close().await?;
    Ok(freed)
}
