//! Limits of the protocol, which the services enforce and clients respect. docs/limits.md
//! lists them with all other limits.

/// The sum of the records of one batch of an import, in bytes.
pub const MAX_BATCH_BYTES: usize = 10 * 1_024 * 1_024;

/// Records of one batch of an import.
pub const MAX_BATCH_RECORDS: usize = 50_000;

/// The sum of the records of one frame of a batch, in bytes.
pub const MAX_FRAME_BYTES: usize = 1_024 * 1_024;

/// One record of an import, in bytes. A larger record that fits a frame fails alone.
pub const MAX_RECORD_BYTES: usize = 64 * 1_024;

/// Entries of one page of a list.
pub const MAX_PAGE_SIZE: usize = 1_000;

/// The name of a subscription, in characters.
pub const MAX_SUBSCRIPTION_NAME: usize = 64;
