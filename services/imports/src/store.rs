//! Access to the tables. It is the only module that uses SeaORM's entities; callers
//! pass and get the structs of [`domain`](crate::domain).
//!
//! Every function takes the key of the import, and every query filters by its practice
//! (the tenant); only [`lease::claim`] and the background jobs query all practices.
//! Functions that write take the transaction of
//! [`Database::write`](concord_db::Database::write).
//!
//! Rows are looked up by lists of keys with a scalar subquery per key, or with a join
//! in a fixed order (`sql::joined`), and updated by upserts (INSERT … ON CONFLICT DO
//! UPDATE). All of these use the index on the key. A plain join would leave the choice
//! to the planner, which has no statistics for a new import (PostgreSQL) or for any
//! (SQLite), and then scans the whole import for every page.

pub(crate) mod batches;
pub(crate) mod counters;
pub(crate) mod due;
pub(crate) mod duplicates;
pub(crate) mod edits;
mod entities;
pub(crate) mod erasure;
pub(crate) mod failures;
pub(crate) mod gauges;
pub(crate) mod imports;
pub(crate) mod lease;
pub(crate) mod match_keys;
pub(crate) mod parents;
pub(crate) mod purge;
pub(crate) mod records;
mod sql;
pub(crate) mod staged;

#[cfg(test)]
mod tests;
