//! The tables. The only module that names SeaORM's entities: rows go in and out
//! as the structs of [`domain`](crate::domain).
//!
//! Every function takes the import's key, and every query carries its practice;
//! only [`lease::claim`] looks over all practices, for work. A function that
//! writes takes the transaction of [`Database::write`](shared::db::Database::write).
//!
//! Lists of keys are looked up with a scalar subquery for each key, or by a join
//! whose order is fixed (`sql::joined`), and rows are changed by inserts that
//! conflict: either way a key is used. A plain join would leave the choice to the
//! planner, which knows nothing of an import that has just arrived (PostgreSQL) or of
//! any (SQLite), and then reads all of it for every page.

pub(crate) mod batches;
pub(crate) mod due;
pub(crate) mod duplicates;
pub(crate) mod edits;
mod entities;
pub(crate) mod erasure;
pub(crate) mod failures;
pub(crate) mod gauges;
pub(crate) mod imports;
pub(crate) mod lease;
pub(crate) mod likenesses;
pub(crate) mod parents;
pub(crate) mod purge;
pub(crate) mod records;
mod sql;
pub(crate) mod staged;
pub(crate) mod tally;

#[cfg(test)]
mod tests;
