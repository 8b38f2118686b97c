//! A replica: a process of a service that the test can kill, pause and restart.

use std::{
    fs::{self, OpenOptions},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::process::{concord, wait_until};
use concord_testing::e2e::{caller::Caller, rng::SeededRng};

/// A replica. It keeps its address across restarts.
#[derive(Debug)]
pub(crate) struct Replica {
    /// A wrapper command that executes the program with its arguments; usually empty.
    wrapper: Vec<String>,
    /// The arguments of the program, up to the address.
    arguments: Vec<String>,
    address: SocketAddr,
    process: Child,
    /// The folder of its log.
    folder: TempDir,
}

impl Replica {
    /// Starts a replica of the records service, and waits until it listens.
    pub(crate) fn start(database: &str, rng: &mut SeededRng) -> Self {
        Self::start_wrapped(&[], database, rng)
    }

    /// Starts a replica of the records service by a wrapper command.
    pub(crate) fn start_wrapped(wrapper: &[&str], database: &str, rng: &mut SeededRng) -> Self {
        Self::serve(wrapper, &["records", "--records-db", database, "--records-listen"], rng)
    }

    /// Starts a replica of the records service with more options.
    pub(crate) fn start_with(options: &[&str], database: &str, rng: &mut SeededRng) -> Self {
        let service = ["records", "--records-db", database];
        Self::serve(&[], &[&service[..], options, &["--records-listen"]].concat(), rng)
    }

    /// Starts a replica of the imports service with the records service at `records`, and waits
    /// until it listens.
    pub(crate) fn imports(database: &str, records: &str, rng: &mut SeededRng) -> Self {
        let database = ["imports", "--imports-db", database];
        let arguments = [&database[..], &["--records", records, "--imports-listen"]].concat();
        Self::serve(&[], &arguments, rng)
    }

    fn serve(wrapper: &[&str], arguments: &[&str], rng: &mut SeededRng) -> Self {
        let (address, folder) = (free_address(rng), tempfile::tempdir().unwrap());
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (wrapper, arguments) = (owned(wrapper), owned(arguments));
        let process = spawn(&wrapper, &arguments, address, folder.path().join("log"));
        let mut replica = Self { wrapper, arguments, address, process, folder };
        replica.wait_until_listening();
        replica
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A channel to the replica. It reconnects after an error.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url())
            .unwrap()
            .connect_timeout(Duration::from_secs(5))
            .connect_lazy()
    }

    /// A caller with the role owner, for a product in a practice.
    pub(crate) fn owner(&self, practice: &str, product: &str) -> Caller {
        Caller::owner(self.channel(), practice, product)
    }

    /// Sends SIGKILL, and restarts the replica at its address, without waiting until it listens.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart_if_ended();
    }

    /// Sends SIGKILL, and waits for the exit.
    pub(crate) fn kill(&mut self) {
        // It may have ended already, if its address was still in use.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Pauses the process with SIGSTOP.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Resumes the process with SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Restarts the replica at its address if it has ended.
    pub(crate) fn restart_if_ended(&mut self) {
        if self.has_ended() {
            self.process = spawn(&self.wrapper, &self.arguments, self.address, self.log_file());
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait_until_listening(&mut self) {
        wait_until("the replica to listen", || {
            self.restart_if_ended();
            TcpStream::connect(self.address).ok()
        });
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The log across restarts: warnings and errors.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    /// Checks that the log has no panic and no internal error.
    #[track_caller]
    pub(crate) fn check_log(&self) {
        let log = self.log();
        assert!(!log.contains("panicked") && !log.contains("internal error"), "{log}");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(wrapper: &[String], arguments: &[String], address: SocketAddr, log: PathBuf) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    command(wrapper)
        .arg("serve")
        .args(arguments)
        .arg(address.to_string())
        .env("CONCORD_LOG", "warn")
        .env("CONCORD_RECORDS_METRICS_LISTEN", "off")
        .env("CONCORD_IMPORTS_METRICS_LISTEN", "off")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The program, wrapped in another command if given.
fn command(wrapper: &[String]) -> Command {
    let program = concord();
    let Some((first, more)) = wrapper.split_first() else { return program };
    let mut command = Command::new(first);
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command.args(more).arg(program.get_program()).stdin(Stdio::null());
    command
}

/// An unused address. Its port is below the ephemeral ports, so that no outgoing connection uses
/// it while the replica is down.
fn free_address(rng: &mut SeededRng) -> SocketAddr {
    wait_until("a free port", || {
        let port = 20_000 + u16::try_from(rng.below(12_000)).unwrap();
        TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()
    })
}
