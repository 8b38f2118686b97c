//! Panics in the log, without what they say of data.

use std::panic;

/// Logs where a panic was, and what it said when that is written in the code. What
/// was put together at run time may hold a value of a record.
pub(super) fn log() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = info.payload().downcast_ref::<&'static str>().copied();
        let text = text.unwrap_or("(its message may hold data, and is not logged)");
        tracing::error!(place, text, "a panic");
    }));
}
