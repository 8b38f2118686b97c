//! One process of a service, which may be killed.

use std::{
    fs::{self, OpenOptions},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::{
    process::{concord, wait_until},
    support::{caller::Caller, dice::Dice},
};

/// A replica, at the same address through all of its lives.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The command that becomes it, given its program and arguments; none as a rule.
    within: Vec<String>,
    /// How it is started, up to its address.
    arguments: Vec<String>,
    address: SocketAddr,
    process: Child,
    /// Where its log is.
    folder: TempDir,
}

impl Replica {
    /// Starts one of the records service, and waits until it listens.
    pub(crate) fn start(database: &str, dice: &mut Dice) -> Self {
        Self::start_within(&[], database, dice)
    }

    /// Starts one of the records service by a command that becomes what it is given.
    pub(crate) fn start_within(within: &[&str], database: &str, dice: &mut Dice) -> Self {
        Self::serve(within, &["records", "--records-db", database, "--records-listen"], dice)
    }

    /// Starts one of the records service with other options.
    pub(crate) fn start_with(options: &[&str], database: &str, dice: &mut Dice) -> Self {
        let service = ["records", "--records-db", database];
        Self::serve(&[], &[&service[..], options, &["--records-listen"]].concat(), dice)
    }

    /// Starts one of the imports service over the records at `records`, and waits
    /// until it listens.
    pub(crate) fn imports(database: &str, records: &str, dice: &mut Dice) -> Self {
        let database = ["imports", "--imports-db", database];
        let arguments = [&database[..], &["--records", records, "--imports-listen"]].concat();
        Self::serve(&[], &arguments, dice)
    }

    fn serve(within: &[&str], arguments: &[&str], dice: &mut Dice) -> Self {
        let (address, folder) = (free_address(dice), tempfile::tempdir().unwrap());
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (within, arguments) = (owned(within), owned(arguments));
        let process = spawn(&within, &arguments, address, folder.path().join("log"));
        let mut replica = Self { within, arguments, address, process, folder };
        replica.wait_until_it_listens();
        replica
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection to it, which is made anew whenever it is found broken.
    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url())
            .unwrap()
            .connect_timeout(Duration::from_secs(5))
            .connect_lazy()
    }

    /// An owner of a practice, in a product.
    pub(crate) fn owner(&self, practice: &str, product: &str) -> Caller {
        Caller::owner(self.channel(), practice, product)
    }

    /// Kills it, as `kill -9` does, and starts it again at its address. It may not
    /// listen yet.
    pub(crate) fn kill_and_start(&mut self) {
        self.kill();
        self.revive();
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended already: its address was still taken.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Stops it where it is, as a machine does that is put to sleep.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Starts it again at its address when it has ended.
    pub(crate) fn revive(&mut self) {
        if self.has_ended() {
            self.process = spawn(&self.within, &self.arguments, self.address, self.log_file());
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait_until_it_listens(&mut self) {
        wait_until("a replica that listens", || {
            self.revive();
            TcpStream::connect(self.address).ok()
        });
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it has logged in all of its lives: warnings and errors.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(within: &[String], arguments: &[String], address: SocketAddr, log: PathBuf) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
    command(within)
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

/// The program, by a command that becomes it.
fn command(within: &[String]) -> Command {
    let program = concord();
    let Some((first, more)) = within.split_first() else { return program };
    let mut command = Command::new(first);
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command.args(more).arg(program.get_program()).stdin(Stdio::null());
    command
}

/// An address that nothing listens at, and that no connection takes by chance
/// while its replica is down: below the ports of outgoing connections.
fn free_address(dice: &mut Dice) -> SocketAddr {
    wait_until("a free port", || {
        let port = 20_000 + u16::try_from(dice.below(12_000)).unwrap();
        TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()
    })
}
