//! The records service: clients, persons, contacts, their timelines, the links
//! of products to them, and the feed of changes.
//!
//! [`Application`] is one replica. A call goes through three layers: `grpc` parses the
//! request, `service` runs the command in one transaction and builds the response, and
//! `store` accesses the tables. The rules are in `domain` and in [`concord_core::rules`], which
//! depend on none of the three.

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
mod post_restore;
mod record_loader;
mod schema;
mod service;
mod store;

pub use app::{Application, StartError};
pub use config::RecordsConfig;
pub use post_restore::{PostRestoreError, RestartedFeeds, post_restore};
pub use schema::migrate;
