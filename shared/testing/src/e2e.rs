//! Callers, servers and workloads of the end-to-end tests.

#![expect(
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    reason = "a test may fail by a panic"
)]

pub mod caller;
pub mod chunk;
pub mod every_call;
pub mod failure;
pub mod fake_records;
pub mod feed;
pub mod follower;
pub mod http2;
pub mod import_records;
pub mod importing;
pub mod ingest_contract;
pub mod pair;
pub mod proxy;
pub mod raw;
pub mod records;
pub mod rng;
pub mod sample;
pub mod secure;
pub mod servers;
pub mod texts;
pub mod writing;
