//! A PostgreSQL server for one test, which the test can crash.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A PostgreSQL server with its own data folder.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    folder: TempDir,
    url: String,
}

impl PostgresServer {
    /// Creates and starts a server, with fsync on, as in production.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = script("start", &folder).arg("fsync=on").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { folder, url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops all its processes immediately, as in a crash.
    pub(crate) fn crash(&self) {
        assert!(script("stop", &self.folder).arg("immediate").status().unwrap().success());
    }

    /// Restarts the server, which runs crash recovery first.
    pub(crate) fn restart(&self) {
        assert!(script("restart", &self.folder).status().unwrap().success());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = script("remove", &self.folder).status();
    }
}

fn script(command: &str, folder: &TempDir) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/postgres");
    let mut call = Command::new(script);
    call.arg(command).arg(folder.path()).stdin(Stdio::null());
    call
}
