//! A disk that is full under an SQLite database, has room again, and is full again,
//! under four writers, and then the process is killed: each create that was answered
//! is there.

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

use shared::pb::records::ListClientsRequest;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    process::wait_until,
    replica::Replica,
    support::{
        caller::Caller,
        dice::Dice,
        failure::{Failure, failure},
        records::company,
    },
};

const WRITERS: usize = 4;

/// Calls that are answered, or refused, before the disk changes again.
const CALLS: usize = 40;

/// Writers, and the answers that they received.
#[derive(Debug)]
struct Writers {
    answered: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<AtomicUsize>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Writers {
    fn start(replica: &Replica) -> Self {
        let answered = Arc::<Mutex<BTreeSet<String>>>::default();
        let refused = Arc::<AtomicUsize>::default();
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for writer in 0..WRITERS {
            let caller = replica.owner("p1", "manager");
            let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
            let stop = stop.clone();
            tasks.spawn(async move {
                for n in 0.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    let reference = format!("W{writer}-{n}");
                    let created = company(&reference, "Acme Limited");
                    match caller.clients().create_client(created).await {
                        Ok(_) => drop(answered.lock().unwrap().insert(reference)),
                        Err(status) => match failure(&status) {
                            Failure::Later => drop(refused.fetch_add(1, SeqCst)),
                            // Its process is killed at the end.
                            other => assert_eq!(other, Failure::Cut, "{status:?}"),
                        },
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self { answered, refused, stop, tasks }
    }

    fn answered(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    /// Waits until so many more are answered, as with room on the disk.
    fn are_answered(&self) {
        let before = self.answered();
        self.see("writes are answered", || self.answered() >= before + CALLS);
    }

    /// Waits until so many more are refused, as without room on the disk; or answered,
    /// when there is room in the files that are there.
    fn are_refused(&self) {
        let (refused, answered) = (self.refused.load(SeqCst), self.answered());
        self.see("writes are refused", || {
            self.refused.load(SeqCst) >= refused + CALLS || self.answered() >= answered + 10 * CALLS
        });
    }

    fn see(&self, what: &str, happened: impl Fn() -> bool) {
        let told = || format!("{what}: {} answered, {:?} refused", self.answered(), self.refused);
        tokio::task::block_in_place(|| {
            wait_until(&told(), || happened().then_some(()));
        });
    }

    /// Ends them, and checks that the replica, which was killed, has all that was
    /// answered when it is started again.
    async fn check(mut self, replica: &mut Replica) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        replica.wait_until_it_listens();
        let there = clients(&replica.owner("p1", "manager")).await;
        let answered = self.answered.lock().unwrap();
        let lost: Vec<_> = answered.difference(&there).collect();
        eprintln!("{} answered, {:?} refused", answered.len(), self.refused);
        assert!(self.refused.load(SeqCst) > 0, "the disk was never full");
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), answered.len());
        assert!(!replica.log().contains("panicked"), "{}", replica.log());
        assert!(!replica.log().contains("internal error"), "{}", replica.log());
    }
}

/// The references of all clients of a practice.
async fn clients(caller: &Caller) -> BTreeSet<String> {
    let mut clients = BTreeSet::new();
    let mut request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
    loop {
        let listed = caller.clients().list_clients(request.clone()).await.unwrap().into_inner();
        clients.extend(listed.clients.into_iter().map(|client| client.client_reference));
        if listed.next_page_token.is_empty() {
            return clients;
        }
        request.page_token = listed.next_page_token;
    }
}

/// A replica under writers, while the disk is filled and freed.
async fn check(mut replica: Replica, fill: impl Fn(&Replica), free: impl Fn(&Replica)) {
    replica.owner("p1", "manager").connect().await;
    let writers = Writers::start(&replica);
    writers.are_answered();
    for _ in 0..2 {
        fill(&replica);
        writers.are_refused();
        free(&replica);
        writers.are_answered();
    }
    fill(&replica);
    writers.are_refused();
    replica.kill();
    free(&replica);
    writers.check(&mut replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_that_were_answered_outlive_files_that_may_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("records.db");
    // A process that ignores the signal gets a write error instead.
    let within = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let url = format!("sqlite:{}", database.display());
    let replica = Replica::start_within(&within, &url, &mut Dice::of_this_run());
    let limit = |replica: &Replica, limit: &str| {
        let pid = replica.id().to_string();
        let size = format!("--fsize={limit}:unlimited");
        assert!(Command::new("prlimit").args(["--pid", &pid, &size]).status().unwrap().success());
    };
    let size = |end: &str| fs::metadata(format!("{}{end}", database.display())).unwrap().len();
    let fill = |replica: &Replica| {
        // Within the next transaction, between two of its pages.
        limit(replica, &(size("").max(size("-wal")) + 10_000).to_string());
    };
    let free = |replica: &Replica| {
        if Path::new(&format!("/proc/{}/limits", replica.id())).exists() {
            limit(replica, "unlimited");
        }
    };
    check(replica, fill, free).await;
}

/// A small disk in memory, which only processes inside of it see.
#[derive(Debug)]
struct SmallDisk {
    keeper: Child,
    folder: TempDir,
}

impl SmallDisk {
    /// None where the user is not permitted to create one.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = "mount -t tmpfs -o size=24m tmpfs \"$0\" && echo mounted && exec sleep 3600";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", mount]).arg(folder.path());
        let keeper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut disk = Self { keeper: keeper.ok()?, folder };
        let mut line = String::new();
        let said = BufReader::new(disk.keeper.stdout.take().unwrap()).read_line(&mut line);
        (said.is_ok() && line == "mounted\n").then_some(disk)
    }

    fn id(&self) -> String {
        self.keeper.id().to_string()
    }

    /// What takes the room, as it is seen from outside.
    fn filler(&self) -> PathBuf {
        let inside = self.folder.path().join("filler");
        Path::new("/proc").join(self.id()).join("root").join(inside.strip_prefix("/").unwrap())
    }

    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        // The last bytes too.
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
async fn creates_that_were_answered_outlive_a_disk_that_is_full() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("not run: a file system cannot be mounted here, nor by `unshare`");
        return;
    };
    let (id, url) = (disk.id(), format!("sqlite:{}/records.db", disk.folder.path().display()));
    let within = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &id, "--"];
    let replica = Replica::start_within(&within, &url, &mut Dice::of_this_run());
    check(replica, |_| disk.fill(), |_| disk.free()).await;
}
