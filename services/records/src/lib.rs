//! The records service: clients, persons, contacts, their timelines, the links
//! of products to them, and the feed of changes.
//!
//! [`Application`] is one replica. A call goes through three layers: `grpc`
//! parses and encodes, `service` runs one transaction script, `store` is the
//! only one that knows the tables. The rules are in `domain` and in
//! [`shared::rules`], free of all three.

mod app;
mod config;
mod domain;
mod error;
mod feed;
mod gauges;
mod grpc;
mod image;
mod jobs;
mod migrations;
mod reads;
mod restored;
mod service;
mod store;
mod tables;

pub use app::{Application, StartError};
pub use config::RecordsConfig;
pub use restored::{Renewed, RestoredError, restored};
pub use tables::migrate;
