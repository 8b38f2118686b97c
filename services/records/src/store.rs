//! The tables. The only module that names SeaORM's entities: rows go in and out
//! as the structs of [`domain`](crate::domain).
//!
//! Every function takes the practice, and every query carries it. A function
//! that writes takes the transaction of [`Database::write`](shared::db::Database::write).

pub(crate) mod audit;
pub(crate) mod changes;
pub(crate) mod clients;
pub(crate) mod connections;
pub(crate) mod contacts;
mod entities;
pub(crate) mod entries;
pub(crate) mod feed;
pub(crate) mod fences;
pub(crate) mod images;
pub(crate) mod likeness;
pub(crate) mod links;
pub(crate) mod persons;
pub(crate) mod requests;
pub(crate) mod search;
pub(crate) mod subscriptions;
pub(crate) mod support_reads;
mod text;
pub(crate) mod tombstones;
pub(crate) mod trace;
