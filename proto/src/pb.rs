//! Protocol types, generated from `proto/` by `build.rs`.
#![allow(
    warnings,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code"
)]

/// The encoded file descriptors of all packages, for the contract test.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The encoded file descriptors that the reflection service serves.
pub const PUBLIC_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptors.bin"));

include!(concat!(env!("OUT_DIR"), "/pb.rs"));

pub use concord::{imports::v1 as imports, internal::v1 as internal, records::v1 as records};
