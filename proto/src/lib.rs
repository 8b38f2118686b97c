//! The protocol of Concord: types generated from `proto/`, and the list of its RPCs.
//!
//! - [`pb`]: the generated messages, clients and servers.
//! - [`limits`]: limits that clients respect.
//! - [`wire`]: messages that the services forward without decoding all of their parts.
//! - [`rpc`]: every RPC with its path.

pub mod limits;
pub mod pb;
pub mod rpc;
pub mod wire;
