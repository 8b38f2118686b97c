//! The disk of an SQLite database fills up repeatedly under four writers, and then the process
//! is killed: no acknowledged write is lost.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{process::wait_until, replica::Replica};
use concord_testing::e2e::{
    failure::{Failure, failure},
    records::{all_clients, company},
    rng::SeededRng,
};

const WRITERS: usize = 4;

/// The number of accepted or rejected calls before the disk changes again.
const CALLS: usize = 40;

/// Concurrent writers, and the results of their calls.
#[derive(Debug)]
struct Writers {
    accepted: Arc<Mutex<BTreeSet<String>>>,
    rejected: Arc<AtomicUsize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Writers {
    fn start(replica: &Replica) -> Self {
        let accepted = Arc::<Mutex<BTreeSet<String>>>::default();
        let rejected = Arc::<AtomicUsize>::default();
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for writer in 0..WRITERS {
            let caller = replica.owner("p1", "manager");
            let (accepted, rejected) = (Arc::clone(&accepted), Arc::clone(&rejected));
            let stop = stop.clone();
            tasks.spawn(async move {
                for n in 0.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    let reference = format!("W{writer}-{n}");
                    let created = company(&reference, "Acme Limited");
                    match caller.clients().create_client(created).await {
                        Ok(_) => drop(accepted.lock().unwrap().insert(reference)),
                        Err(status) => match failure(&status) {
                            Failure::Retryable => drop(rejected.fetch_add(1, SeqCst)),
                            // The process is killed at the end.
                            other => assert_eq!(other, Failure::ConnectionLost, "{status:?}"),
                        },
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { accepted, rejected, stop, tasks }
    }

    fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Waits until more writes are accepted: the disk has free space.
    fn wait_for_accepted(&self) {
        let before = self.accepted();
        self.wait_for("writes are accepted", || self.accepted() >= before + CALLS);
    }

    /// Waits until more writes are rejected: the disk is full. Writes that fit into the existing
    /// files are still accepted.
    fn wait_for_rejected(&self) {
        let (rejected, accepted) = (self.rejected.load(SeqCst), self.accepted());
        self.wait_for("writes are rejected", || {
            self.rejected.load(SeqCst) >= rejected + CALLS
                || self.accepted() >= accepted + 10 * CALLS
        });
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let text = format!("{what}: {} accepted, {:?} rejected", self.accepted(), self.rejected);
        tokio::task::block_in_place(|| {
            wait_until(&text, || condition().then_some(()));
        });
    }

    /// Stops the writers, restarts the killed replica, and checks that it has every accepted
    /// write.
    async fn check(mut self, replica: &mut Replica) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        replica.wait_until_listening();
        let stored = all_clients(&replica.owner("p1", "manager")).await.into_iter();
        let stored: BTreeSet<_> = stored.map(|client| client.client_reference).collect();
        let accepted = self.accepted.lock().unwrap();
        let lost: Vec<_> = accepted.difference(&stored).collect();
        eprintln!("{} accepted, {:?} rejected", accepted.len(), self.rejected);
        assert!(self.rejected.load(SeqCst) > 0, "the disk was never full");
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), accepted.len());
        replica.check_log();
    }
}

/// Fills and frees the disk of a replica under writers, and checks its records afterwards.
async fn check(mut replica: Replica, fill: impl Fn(&Replica), free: impl Fn(&Replica)) {
    replica.owner("p1", "manager").connect().await;
    let writers = Writers::start(&replica);
    writers.wait_for_accepted();
    for _ in 0..2 {
        fill(&replica);
        writers.wait_for_rejected();
        free(&replica);
        writers.wait_for_accepted();
    }
    fill(&replica);
    writers.wait_for_rejected();
    replica.kill();
    free(&replica);
    writers.check(&mut replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn file_size_limit_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("records.db");
    // A process that ignores SIGXFSZ gets a write error instead.
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let url = format!("sqlite:{}", database.display());
    let replica = Replica::start_wrapped(&wrapper, &url, &mut SeededRng::from_env());
    let limit = |replica: &Replica, limit: &str| {
        let pid = replica.id().to_string();
        let size = format!("--fsize={limit}:unlimited");
        assert!(Command::new("prlimit").args(["--pid", &pid, &size]).status().unwrap().success());
    };
    let size = |end: &str| fs::metadata(format!("{}{end}", database.display())).unwrap().len();
    let fill = |replica: &Replica| {
        // The limit is reached within the next transaction, between two of its pages.
        limit(replica, &(size("").max(size("-wal")) + 10_000).to_string());
    };
    let free = |replica: &Replica| {
        if Path::new(&format!("/proc/{}/limits", replica.id())).exists() {
            limit(replica, "unlimited");
        }
    };
    check(replica, fill, free).await;
}

/// A small tmpfs in a mount namespace of its own.
#[derive(Debug)]
struct SmallDisk {
    keeper: Child,
    folder: TempDir,
}

impl SmallDisk {
    /// None if the user is not permitted to mount it.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = "mount -t tmpfs -o size=24m tmpfs \"$0\" && echo mounted && exec sleep 3600";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", mount]).arg(folder.path());
        let keeper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut disk = Self { keeper: keeper.ok()?, folder };
        let mut line = String::new();
        let read = BufReader::new(disk.keeper.stdout.take().unwrap()).read_line(&mut line);
        (read.is_ok() && line == "mounted\n").then_some(disk)
    }

    fn id(&self) -> String {
        self.keeper.id().to_string()
    }

    /// The file that fills the disk, as a path outside of the namespace.
    fn filler(&self) -> PathBuf {
        let inside = self.folder.path().join("filler");
        Path::new("/proc").join(self.id()).join("root").join(inside.strip_prefix("/").unwrap())
    }

    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        // Down to the last byte.
        for size in [1 << 16, 1 << 10, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn full_disk_loses_no_acknowledged_write() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: a file system cannot be mounted, not even by `unshare`");
        return;
    };
    let (id, url) = (disk.id(), format!("sqlite:{}/records.db", disk.folder.path().display()));
    let wrapper = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &id, "--"];
    let replica = Replica::start_wrapped(&wrapper, &url, &mut SeededRng::from_env());
    check(replica, |_| disk.fill(), |_| disk.free()).await;
}
