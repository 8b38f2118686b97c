//! Access to the tables. It is the only module that uses SeaORM's entities; callers
//! pass and get the structs of [`domain`](crate::domain).
//!
//! A function takes an [`ImportDb`], whose queries filter by the practice (the tenant) and
//! the import, or a [`TenantDb`](concord_db::TenantDb) if it is about a whole practice. A
//! function that takes an import or a [`Lease`](lease::Lease), which have the key, takes a
//! connection; so do [`lease::claim`] and the background jobs, which query all practices.
//! Functions that write take the transaction of
//! [`Database::write`](concord_db::Database::write).
//!
//! Entities serve single rows and reads by key. Closures that write the text and bind its
//! parameters ([`Binds`](concord_db::Binds)) serve sets, and SQL that entities cannot
//! express. Nothing else is used.
//!
//! Rows are looked up by lists of keys with a scalar subquery per key, or with a join
//! in a fixed order (`ImportBinds::joined`), and updated by upserts (INSERT … ON CONFLICT
//! DO UPDATE). All of these use the index on the key. A plain join would leave the choice
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
mod import_db;
pub(crate) mod imports;
pub(crate) mod lease;
pub(crate) mod match_keys;
pub(crate) mod parents;
pub(crate) mod purge;
pub(crate) mod records;
pub(crate) mod staged;

pub(crate) use import_db::ImportDb;

/// Text without NUL characters, truncated to a maximum length, which both databases
/// accept.
fn storable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 500;
    text.chars().filter(|c| *c != '\0').take(MAX_CHARACTERS).collect()
}

#[cfg(test)]
mod tests;
