//! SeaORM entities of the tables that are accessed row by row.

pub(super) mod batch;
pub(super) mod import;

concord_db::tenant_tables!(batch, import);
