//! The program as a process, for the tests that run it.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The program, without the variables of whoever runs the tests.
pub(crate) fn concord() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concord"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONCORD_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Looks again and again until it has happened.
pub(crate) fn wait_until<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let late = Instant::now() + Duration::from_mins(1);
    while Instant::now() < late {
        if let Some(happened) = happened() {
            return happened;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("did not happen in time: {what}");
}
