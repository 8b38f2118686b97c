//! Migrations, all in one transaction and under a lock, so that replicas may
//! start together and a migration that fails leaves nothing behind.

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTrait;

use super::begin;

/// The advisory lock of migrations: "concord" as a number on a telephone.
const MIGRATION_LOCK: i64 = 2_662_673;

pub(super) async fn postgres<M: MigratorTrait>(pool: &DatabaseConnection) -> Result<(), DbErr> {
    let tx = begin(pool).await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    M::up(&tx, None).await?;
    tx.commit().await
}

pub(super) async fn sqlite<M: MigratorTrait>(writer: &DatabaseConnection) -> Result<(), DbErr> {
    let tx = begin(writer).await?;
    M::up(&tx, None).await?;
    tx.commit().await
}
