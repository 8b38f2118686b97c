//! The rows of the tables that are read and written one by one.

pub(super) mod batch;
pub(super) mod import;
