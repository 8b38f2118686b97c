//! The vocabulary of the tests.

pub(crate) mod caller;
pub(crate) mod feed;
pub(crate) mod records;
pub(crate) mod sample;
pub(crate) mod servers;
