//! Runs the program as a process in tests.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The program, without the `CONCORD_` variables of the test environment.
pub(crate) fn concord() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_concord"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONCORD_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Polls until `poll` returns a value. Panics with `what` after a minute.
pub(crate) fn wait_until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    while Instant::now() < deadline {
        if let Some(value) = poll() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("did not happen in time: {what}");
}
