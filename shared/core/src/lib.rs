//! What both services share and that needs no database and no server.
//!
//! - Rules: [`rules`] (what a valid record is), [`ids`], [`clock`], [`key_digest`] (keys of
//!   erased records).
//! - Callers: [`caller`] (practice, product, account, user and roles of a call),
//!   [`access`] (which role may make which call), [`call_id`] (the id of one call in logs).
//! - Answers: [`status`] (errors as gRPC statuses), [`page`] (page tokens),
//!   [`list_cell`] (lists in the cells of a file), [`row_token`] (rows of a failures file).

pub mod access;
pub mod call_id;
pub mod caller;
pub mod clock;
pub mod ids;
pub mod key_digest;
pub mod list_cell;
pub mod page;
pub mod row_token;
pub mod rules;
pub mod status;
