//! The handle of store functions: a connection or transaction that is restricted to one
//! tenant, and filters its queries by the practice.
//!
//! It is the first line of defence. The second is row-level security, which limits a write
//! transaction to the rows of [`TenantScope`](super::TenantScope), in `tenant_scope.rs`.

use concord_core::caller::PracticeId;
use sea_orm::{
    ActiveModelTrait, ColumnTrait as _, ConnectionTrait, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, DeleteMany, EntityTrait, QueryFilter as _, QueryResult, Select, UpdateMany,
};

use super::{
    binds::Binds, database::Database, sql, statement_batch::StatementBatch, write::WriteTx,
};

/// A table whose rows belong to tenants.
pub trait TenantTable: EntityTrait {
    /// The column of the practice.
    const PRACTICE: Self::Column;
}

/// Implements [`TenantTable`] for entities, which are given by their modules. The column of
/// the practice is `practice_id`.
#[macro_export]
macro_rules! tenant_tables {
    ($($table:ident),+ $(,)?) => {
        $(impl $crate::TenantTable for $table::Entity {
            const PRACTICE: $table::Column = $table::Column::PracticeId;
        })+
    };
}

/// A connection that is restricted to one tenant. Store functions take it instead of a
/// connection and a practice. Queries of entities are filtered by the practice; SQL texts
/// filter by [`TenantBinds::practice`].
#[derive(Debug)]
pub struct TenantDb<'a, C> {
    connection: &'a C,
    practice: &'a PracticeId,
}

impl<C> Clone for TenantDb<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for TenantDb<'_, C> {}

impl Database {
    /// The connections for reads of one tenant.
    pub fn reader_of<'a>(&'a self, practice: &'a PracticeId) -> TenantDb<'a, DatabaseConnection> {
        TenantDb::new(self.reader(), practice)
    }
}

impl WriteTx {
    /// The transaction, for the rows of one tenant.
    pub fn of<'a>(&'a self, practice: &'a PracticeId) -> TenantDb<'a, DatabaseTransaction> {
        TenantDb::new(self, practice)
    }
}

impl<'a, C: ConnectionTrait> TenantDb<'a, C> {
    /// Restricts a connection to one tenant.
    pub fn new(connection: &'a C, practice: &'a PracticeId) -> Self {
        Self { connection, practice }
    }

    /// The connection, which executes the queries of this type.
    pub fn connection(self) -> &'a C {
        self.connection
    }

    /// The tenant.
    pub fn practice(self) -> &'a PracticeId {
        self.practice
    }

    /// The database engine.
    pub fn engine(self) -> DbBackend {
        self.connection.get_database_backend()
    }

    /// Selects rows of the tenant.
    pub fn select<E: TenantTable>(self) -> Select<E> {
        E::find().filter(E::PRACTICE.eq(self.practice.as_str()))
    }

    /// Updates rows of the tenant.
    pub fn update<E: TenantTable>(self) -> UpdateMany<E> {
        E::update_many().filter(E::PRACTICE.eq(self.practice.as_str()))
    }

    /// Deletes rows of the tenant.
    pub fn delete<E: TenantTable>(self) -> DeleteMany<E> {
        E::delete_many().filter(E::PRACTICE.eq(self.practice.as_str()))
    }

    /// An empty batch of write statements.
    pub fn batch(self) -> StatementBatch {
        StatementBatch::new(self.engine(), self.practice)
    }

    /// Inserts rows, in few statements.
    pub async fn insert_all<A: ActiveModelTrait>(self, rows: Vec<A>) -> Result<(), DbErr> {
        let mut batch = self.batch();
        batch.insert(rows);
        batch.run(self.connection).await
    }

    /// Runs a query, and returns all its rows. The text filters by [`TenantBinds::practice`].
    pub async fn query(
        self,
        text: impl FnOnce(&mut TenantBinds<'_>) -> String,
    ) -> Result<Vec<QueryResult>, DbErr> {
        sql::query(self.connection, |binds| self.write_text(binds, text)).await
    }

    /// Runs a query, and returns its first row. The text filters by
    /// [`TenantBinds::practice`].
    pub async fn query_one(
        self,
        text: impl FnOnce(&mut TenantBinds<'_>) -> String,
    ) -> Result<Option<QueryResult>, DbErr> {
        sql::query_one(self.connection, |binds| self.write_text(binds, text)).await
    }

    /// Runs a statement, and returns the number of changed rows. The text filters by
    /// [`TenantBinds::practice`].
    pub async fn execute(
        self,
        text: impl FnOnce(&mut TenantBinds<'_>) -> String,
    ) -> Result<u64, DbErr> {
        sql::execute(self.connection, |binds| self.write_text(binds, text)).await
    }

    fn write_text(
        self,
        binds: &mut Binds,
        text: impl FnOnce(&mut TenantBinds<'_>) -> String,
    ) -> String {
        text(&mut TenantBinds { binds, practice: self.practice })
    }
}

/// The bind parameters of a statement of one tenant.
#[derive(Debug)]
pub struct TenantBinds<'a> {
    binds: &'a mut Binds,
    practice: &'a PracticeId,
}

impl TenantBinds<'_> {
    /// Binds the practice, and returns its placeholder.
    pub fn practice(&mut self) -> String {
        self.binds.bind_shared("practice", self.practice.as_str())
    }
}

impl std::ops::Deref for TenantBinds<'_> {
    type Target = Binds;

    fn deref(&self) -> &Binds {
        self.binds
    }
}

impl std::ops::DerefMut for TenantBinds<'_> {
    fn deref_mut(&mut self) -> &mut Binds {
        self.binds
    }
}
