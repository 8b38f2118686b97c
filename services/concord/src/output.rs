//! Where the program writes: answers to standard output, remarks for the person
//! at the terminal to standard error.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes a line of the answer.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Sees to it that the answer has left the program as far as it goes.
pub(crate) fn flush() -> io::Result<()> {
    io::stdout().lock().flush()
}

/// Writes a remark. One that cannot be written is not worth failing for.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
