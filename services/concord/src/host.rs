//! The services that run in this process: their start, their end, and the signals that request
//! it.

pub(crate) mod services;
pub(crate) mod shutdown;
