//! Post-restore step: prepares a restored database.
//!
//! The records service rejects calls of an import whose fence is lower than the highest
//! that it has seen, and after a restore it has seen fences of leases that the database
//! no longer has. So all leases are revoked, and the lease tokens are raised above all
//! that were ever issued.

use concord_db::{Database, DatabaseSettings, SchemaError, TenantScope};

use crate::{
    migrations::Migrator,
    store::{erasure, lease},
};

/// Revokes all leases in a restored database, so that its imports resume with new
/// fencing tokens. Returns the number of imports that have not ended. Run it before the
/// service starts.
///
/// # Errors
///
/// If the database is unreachable or read-only, or its schema is outdated.
pub async fn post_restore(database: DatabaseSettings) -> Result<u64, SchemaError> {
    let db = Database::connect(&database).await?;
    db.check_schema::<Migrator>().await?;
    let freed = db.write(TenantScope::AllPractices, |tx| async move {
        // Either database may have been restored, so all uploads are scanned for
        // erasures again.
        erasure::reset_known_erasures(&*tx).await?;
        lease::revoke_all(&*tx).await
    });
    let freed = freed.await?;
    db.close().await?;
    Ok(freed)
}
