//! Output: the report on standard output, progress messages on standard error.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Writes a line of the report.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes a progress message. Errors are ignored.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
