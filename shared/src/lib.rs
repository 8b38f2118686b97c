//! What both services of Concord share.
//!
//! - Protocol: [`pb`] (generated), [`wire`] (messages that are handled without
//!   decoding all of their parts), [`status`] (errors as gRPC statuses).
//! - Who calls: [`security`] (what an operator says), [`identity`] (how callers
//!   prove who they are), [`access`] (which role may make which call), [`caller`]
//!   (practice, product, account, user and roles of a call).
//! - Rules: [`rules`] (what a valid record is), [`ids`], [`clock`], [`key_digest`] (keys of
//!   erased records).
//! - Running: [`db`] (both databases), [`server`] (a gRPC server with health,
//!   reflection, identity and drain), [`shares`] (fair shares of a bounded resource),
//!   [`page`] (tokens of lists), [`cells`] (lists
//!   in the cells of a file), [`row_token`] (rows of a failures file), [`telemetry`]
//!   (log and traces), [`meter`] (numbers), [`jobs`] (work in the background that
//!   fails), [`call_id`] (what is written for one call), [`reach`] (why a service
//!   cannot be reached).

pub mod access;
pub mod call_id;
pub mod caller;
pub mod cells;
pub mod clock;
pub mod db;
pub mod identity;
pub mod ids;
pub mod jobs;
pub mod key_digest;
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
