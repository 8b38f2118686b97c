//! Code that both services of Concord share.
//!
//! - Protocol: [`pb`] (generated), [`wire`] (messages that are not decoded in full),
//!   [`status`] (errors as gRPC statuses).
//! - Callers: [`security`] (settings for authentication and TLS), [`identity`]
//!   (authentication), [`access`] (the roles that may call each RPC), [`caller`] (practice,
//!   product, account, user and roles of a call).
//! - Rules: [`rules`] (validation of records), [`ids`], [`clock`], [`key_digest`] (keys of
//!   erased records).
//! - Runtime: [`db`] (PostgreSQL and SQLite), [`server`] (a gRPC server with health,
//!   reflection, authentication, admission control and graceful shutdown), [`shares`] (fair
//!   shares of a bounded resource), [`page`] (page tokens of keyset pagination),
//!   [`list_cell`] (lists in one cell of a CSV file), [`row_token`] (rows of a failures
//!   file), [`telemetry`] (logs and traces), [`meter`] (metrics), [`jobs`] (background
//!   jobs), [`call_id`] (request ids in logs), [`reach`] (connection errors).

pub mod access;
pub mod call_id;
pub mod caller;
pub mod clock;
pub mod db;
pub mod identity;
pub mod ids;
pub mod jobs;
pub mod key_digest;
pub mod list_cell;
pub mod meter;
pub mod page;
pub mod pb;
pub mod reach;
pub mod row_token;
pub mod rules;
pub mod security;
pub mod server;
pub mod shares;
pub mod status;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;
