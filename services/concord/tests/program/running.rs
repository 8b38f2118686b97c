//! Processes of the program.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::process::concord;
use crate::process::wait_until;

/// The sample practice that the program carries.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

/// What a process has said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON lines of its answer.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Both services in one process, on files in a folder.
#[derive(Debug)]
pub(crate) struct Pair {
    process: Child,
    records: String,
    imports: String,
    /// Where its files are, and where its callers write.
    pub(crate) folder: TempDir,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, "127.0.0.1:0", "127.0.0.1:0", &[])
    }

    /// With more options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, "127.0.0.1:0", "127.0.0.1:0", options)
    }

    fn start_in(folder: TempDir, records: &str, imports: &str, options: &[&str]) -> Self {
        let mut process = concord()
            .args(["serve", "--records-listen", records, "--imports-listen", imports, "--data-dir"])
            .arg(folder.path().join("data"))
            .args(options)
            .env("CONCORD_LOG", "warn")
            .env("CONCORD_RECORDS_METRICS_LISTEN", "off")
            .env("CONCORD_IMPORTS_METRICS_LISTEN", "off")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |service: &str| {
            let line = lines.next().unwrap().unwrap();
            let address = line.strip_prefix(service).unwrap().strip_prefix(" listening on ");
            address.unwrap().to_owned()
        };
        let (records, imports) = (address("records"), address("imports"));
        Self { process, records, imports, folder }
    }

    /// The address of the records service.
    pub(crate) fn records(&self) -> &str {
        &self.records
    }

    /// The address of the imports service.
    pub(crate) fn imports(&self) -> &str {
        &self.imports
    }

    /// Kills both services at once, and starts them anew where they were.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start_in(folder, &self.records.clone(), &self.imports.clone(), &[])
    }

    /// A client command for the practice `p1`; one of several words, such as
    /// `imports list`, too.
    pub(crate) fn command(&self, name: &str, product: &str) -> Command {
        let mut command = concord();
        command
            .args(name.split(' '))
            .args(["--practice", "p1", "--product", product])
            .args(["--records", &format!("http://{}", self.records)])
            .args(["--imports", &format!("http://{}", self.imports)])
            .current_dir(self.folder.path());
        command
    }

    pub(crate) fn connect(&self, product: &str) -> Said {
        Said::of(&self.command("connect", product).arg(product).output().unwrap())
    }

    pub(crate) fn import(&self, product: &str, files: &Path, more: &[&str]) -> Said {
        let mut command = self.command("import", product);
        Said::of(&command.arg(files).arg("--json").args(more).output().unwrap())
    }

    /// Everything that the product was told so far.
    pub(crate) fn heard(&self, product: &str, more: &[&str]) -> Vec<Value> {
        let mut command = self.command("watch", product);
        command.args(["--from", "earliest", "--until-idle", "2", "--json"]).args(more);
        let said = Said::of(&command.output().unwrap());
        assert_eq!(said.status, 0, "{said:?}");
        said.json()
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> i32 {
        terminate(&self.process);
        wait(&mut self.process)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that goes on while the test does something else. What it says goes
/// into files: a pipe that nobody reads would hold it up.
#[derive(Debug)]
pub(crate) struct Background {
    process: Child,
    folder: TempDir,
}

impl Background {
    pub(crate) fn start(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        let process = command.stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Self { process, folder }
    }

    /// What it has said so far.
    pub(crate) fn said(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Waits until it has said this.
    pub(crate) fn wait_for(&self, name: &str, text: &str) {
        wait_until(text, || self.said(name).contains(text).then_some(()));
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        terminate(&self.process);
    }

    /// Kills it, and says what it has said.
    pub(crate) fn kill(mut self) -> Said {
        self.process.kill().unwrap();
        self.end()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(mut self) -> Said {
        let status = wait(&mut self.process);
        Said { status, out: self.said("out"), err: self.said("err") }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A watch of a test that has failed would go on for ever.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends SIGTERM.
fn terminate(process: &Child) {
    let sent = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Waits until the process has ended by itself.
fn wait(process: &mut Child) -> i32 {
    let ended = wait_until("the end of the process", || process.try_wait().unwrap());
    ended.code().unwrap_or(-1)
}
