//! A PostgreSQL server of one test, which may crash.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// The server, and the folder that it has its files in.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    url: String,
}

impl Cluster {
    /// Makes and starts one. It writes to disk before it answers, as a server in
    /// production does.
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

    /// Ends every process of it at once, as a crash does.
    pub(crate) fn crash(&self) {
        assert!(script("stop", &self.folder).arg("immediate").status().unwrap().success());
    }

    /// Starts it again; it first repairs what the crash has left.
    pub(crate) fn start_again(&self) {
        assert!(script("restart", &self.folder).status().unwrap().success());
    }
}

impl Drop for Cluster {
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
