//! Panics in the log, without data in their messages.

use std::panic;

/// Sets a panic hook that logs the location, and the message if it is a literal. A
/// formatted message may hold a value of a record.
pub(super) fn log() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let text = info.payload().downcast_ref::<&'static str>().copied();
        let text = text.unwrap_or("(the message may hold data, and is not logged)");
        tracing::error!(location, text, "panic");
    }));
}
