//! Processes of the program under test.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use concord_testing::e2e::caller::Caller;
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Endpoint;

pub(crate) use crate::process::concord;
use crate::process::wait_until;

/// The folder of the sample practice.
pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

/// The output of a process, and its exit status.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CommandOutput {
    /// Runs a command.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks that standard error contains each of these texts.
    #[track_caller]
    pub(crate) fn assert_reports(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.err.contains(*text), "{text}: {self:?}");
        }
    }

    /// The JSON lines of standard output.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Both services in one process, on files in a folder.
#[derive(Debug)]
pub(crate) struct Services {
    process: Child,
    records: String,
    imports: String,
    /// The data folder, and the working directory of client commands.
    pub(crate) folder: TempDir,
}

impl Services {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, "127.0.0.1:0", "127.0.0.1:0", &[])
    }

    /// Starts the services, and connects these products.
    pub(crate) fn with(products: &[&str]) -> Self {
        let services = Self::start();
        for product in products {
            let connected = services.connect(product);
            assert_eq!(connected.status, 0, "{connected:?}");
        }
        services
    }

    /// Starts the services with more options.
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

    /// A caller of the records service with the role owner in the practice `p1`. An async
    /// runtime must be running.
    pub(crate) fn owner(&self, product: &str) -> Caller {
        owner(&self.records, product)
    }

    /// The same of the imports service.
    pub(crate) fn importer(&self, product: &str) -> Caller {
        owner(&self.imports, product)
    }

    /// Kills both services, and restarts them at the same addresses.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start_in(folder, &self.records.clone(), &self.imports.clone(), &[])
    }

    /// A client command for the practice `p1`, such as `watch` or `imports list`.
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

    pub(crate) fn connect(&self, product: &str) -> CommandOutput {
        CommandOutput::of(self.command("connect", product).arg(product))
    }

    pub(crate) fn import(&self, product: &str, files: &Path, more: &[&str]) -> CommandOutput {
        let mut command = self.command("import", product);
        CommandOutput::of(command.arg(files).arg("--json").args(more))
    }

    /// All events of the product so far.
    pub(crate) fn events(&self, product: &str, more: &[&str]) -> Vec<Value> {
        let mut command = self.command("watch", product);
        command.args(["--from", "earliest", "--until-idle", "2", "--json"]).args(more);
        let output = CommandOutput::of(&mut command);
        assert_eq!(output.status, 0, "{output:?}");
        output.json()
    }

    /// Sends SIGTERM, and waits for the exit.
    pub(crate) fn terminate(mut self) -> i32 {
        terminate(&self.process);
        wait(&mut self.process)
    }
}

fn owner(address: &str, product: &str) -> Caller {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    Caller::owner(endpoint.connect_lazy(), "p1", product)
}

impl Drop for Services {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Generates the files of `concord keys` for both services on this machine.
pub(crate) fn keys(folder: &Path) -> CommandOutput {
    let mut command = concord();
    command.arg("keys").arg(folder).args(["--host", "localhost", "--client", "manager"]);
    let output = CommandOutput::of(&mut command);
    assert_eq!(output.status, 0, "{output:?}");
    output
}

/// The URL of an address by the name in its certificate.
pub(crate) fn tls_url(address: &str) -> String {
    format!("https://localhost:{}", address.rsplit(':').next().unwrap())
}

/// A command in the background. Its output goes to files, because a full pipe would block it.
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

    /// The output so far: `out` or `err`.
    pub(crate) fn output(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Waits until the output contains the text.
    pub(crate) fn wait_for(&self, name: &str, text: &str) {
        wait_until(text, || self.output(name).contains(text).then_some(()));
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        terminate(&self.process);
    }

    /// Kills the process. Returns its output.
    pub(crate) fn kill(mut self) -> CommandOutput {
        self.process.kill().unwrap();
        self.end()
    }

    /// Waits for the exit.
    pub(crate) fn end(mut self) -> CommandOutput {
        let status = wait(&mut self.process);
        CommandOutput { status, out: self.output("out"), err: self.output("err") }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A watch of a failed test would run forever.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends SIGTERM.
fn terminate(process: &Child) {
    let sent = Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Waits for the exit of the process.
fn wait(process: &mut Child) -> i32 {
    let ended = wait_until("the end of the process", || process.try_wait().unwrap());
    ended.code().unwrap_or(-1)
}
