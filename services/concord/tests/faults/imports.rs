//! Both services killed at random moments, one of them or both, while a practice
//! is imported: every record ends as it does without a kill, and none comes twice.
//!
//! A thousand kills, 500 on each engine, take a while:
//!
//! ```console
//! CONCORD_IMPORT_KILLS=500 cargo test --release -p concord --test faults imports
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sea_orm::ConnectionTrait as _;
use shared::{
    db::{Database, DatabaseSettings},
    pb::{
        imports::{
            BatchCommit, BatchHeader, CreateImportRequest, Failure as Listed, GetImportRequest,
            Import, ImportCounters, ImportState, ListFailuresRequest, RetryImportRequest,
            SealImportRequest, UploadBatchRequest, WatchImportRequest, upload_batch_request::Part,
        },
        records::ListClientsRequest,
    },
    testing::{TestDb, storage_tests},
    wire::BatchFrame,
};
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::{
    kills::{callers, whole_feed},
    replica::Replica,
    support::{
        caller::Caller,
        dice::{Dice, setting},
        failure::{Failure, failure},
        sample,
    },
};

storage_tests! { an_import_outlives_the_processes_that_run_it }

/// Kills on each engine, unless `CONCORD_IMPORT_KILLS` says otherwise.
const KILLS: usize = 60;

/// The longest time between two kills.
const PAUSE_MS: usize = 150;

/// Records of a batch: the sample makes some thirty of them.
const BATCH: usize = 12;

/// How long one step of an import may take, with all the kills in it.
const PATIENCE: Duration = Duration::from_mins(5);

/// All that a caller meets: the service says nothing, or asks for the call again.
const EXPECTED: [Failure; 2] = [Failure::Cut, Failure::Later];

/// The practice that is imported without a kill.
const CALM: &str = "calm";

async fn an_import_outlives_the_processes_that_run_it(db: TestDb) {
    let mut dice = Dice::of_this_run();
    let mut site = Site::start(&db, &mut dice);
    let (driver, _) = site.driver(CALM, &mut dice).await;
    let expected = driver.run().await;
    let clients = site.clients(CALM).await;

    let (wanted, mut kills) = (setting("CONCORD_IMPORT_KILLS", KILLS), BTreeMap::new());
    let mut practices = BTreeSet::from([CALM.to_owned()]);
    while kills.values().sum::<usize>() < wanted {
        let practice = format!("p{}", practices.len());
        let (driver, step) = site.driver(&practice, &mut dice).await;
        let driver = tokio::spawn(driver.run());
        while kills.values().sum::<usize>() < wanted {
            tokio::time::sleep(dice.millis(PAUSE_MS)).await;
            if driver.is_finished() {
                break;
            }
            *kills.entry(*step.borrow()).or_default() += 1;
            site.kill(&mut dice).await;
        }
        site.all().for_each(Replica::wait_until_it_listens);
        assert_eq!(driver.await.unwrap(), expected, "as without kills");
        assert_eq!(site.clients(&practice).await, clients, "each client once");
        practices.insert(practice);
    }
    eprintln!("{} imports, kills: {kills:?}", practices.len() - 1);
    site.check_feed(&practices, expected[0].counters.imported).await;
    for replica in site.all() {
        assert!(!replica.log().contains("panicked"), "{}", replica.log());
        assert!(!replica.log().contains("internal error"), "{}", replica.log());
    }
}

/// The processes of both services.
struct Site {
    records: [Replica; 1],
    imports: Vec<Replica>,
    /// The database of the imports service.
    database: DatabaseSettings,
}

impl Site {
    /// One process of the records service, and of the imports service as many as
    /// the database allows.
    fn start(db: &TestDb, dice: &mut Dice) -> Self {
        let records = Replica::start(db.url(), dice);
        let count = if db.is_postgres() { 2 } else { 1 };
        // The file that `beside` names.
        let url = db.url().replace("test.db", "imports.db");
        let imports = (0..count).map(|_| Replica::imports(&url, &records.url(), dice)).collect();
        Self { imports, records: [records], database: db.beside("imports") }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.records.iter_mut().chain(&mut self.imports)
    }

    /// Kills one of the services, or both, and starts what was killed again.
    async fn kill(&mut self, dice: &mut Dice) {
        let (which, at) = (dice.below(3), dice.below(self.imports.len()));
        if which != 0 {
            self.records[0].kill();
        }
        if which != 1 {
            self.imports[at].kill();
            self.end_leases().await;
        }
        self.all().for_each(Replica::revive);
    }

    /// Lets the lease of a dead worker end, as it does by itself after half a
    /// minute; and with it that of a worker that lives, as if it had slept.
    async fn end_leases(&self) {
        let settings = self.database.clone().max_connections(1);
        let database = Database::connect(&settings).await.unwrap();
        let text = "UPDATE import SET lease_expires_at = '2000-01-01T00:00:00+00:00'
            WHERE lease_owner IS NOT NULL";
        let ended = database.write(move |tx| async move { tx.execute_unprepared(text).await });
        ended.await.unwrap();
        database.close().await.unwrap();
    }

    /// Whoever imports into a practice, with both products connected; and how far
    /// it has come.
    async fn driver(
        &self,
        practice: &str,
        dice: &mut Dice,
    ) -> (Driver, watch::Receiver<&'static str>) {
        for product in ["manager", "books"] {
            self.records[0].owner(practice, product).connect().await;
        }
        let (step, steps) = watch::channel("");
        let replicas = callers(&self.imports, "manager", Some(practice));
        (Driver { replicas, step, dice: dice.fork() }, steps)
    }

    /// The references of the clients of a practice, each as often as it is there.
    async fn clients(&self, practice: &str) -> Vec<String> {
        let manager = self.records[0].owner(practice, "manager");
        let request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
        let listed = manager.clients().list_clients(request).await.unwrap().into_inner();
        assert_eq!(listed.next_page_token, "");
        let mut clients: Vec<_> = listed.clients.into_iter().map(|c| c.client_reference).collect();
        clients.sort();
        clients
    }

    /// Another product hears of every imported record once.
    async fn check_feed(&self, practices: &BTreeSet<String>, imported: i64) {
        let count = i64::try_from(practices.len()).unwrap() * imported;
        let feed = whole_feed(&callers(&self.records, "books", None)[0], count).await;
        let positions: Vec<_> = feed.iter().map(|heard| heard.position).collect();
        assert_eq!(positions, (1..=count).collect::<Vec<_>>(), "no gap, and nothing twice");
        let changes: BTreeSet<_> = feed.iter().map(|heard| &heard.change).collect();
        assert_eq!(changes.len(), feed.len(), "a change once");
        // An address is a version of its owner.
        let versions: BTreeSet<_> =
            feed.iter().map(|heard| (&heard.record, heard.version)).collect();
        assert_eq!(versions.len(), feed.len(), "a version once");
        for practice in practices {
            let own = feed.iter().filter(|heard| heard.practice == *practice).count();
            assert_eq!(i64::try_from(own).unwrap(), imported, "{practice}");
        }
    }
}

/// What is told of an import at the end of a round.
#[derive(Debug, PartialEq)]
struct Told {
    counters: ImportCounters,
    /// The failures, without where the records were in their batches; sorted.
    failures: Vec<String>,
}

/// One who imports the sample, and sends every call again until it is answered.
struct Driver {
    replicas: Vec<Caller>,
    /// What it does.
    step: watch::Sender<&'static str>,
    dice: Dice,
}

impl Driver {
    /// Imports the sample; then has what failed tried again. What is told after
    /// each.
    async fn run(mut self) -> [Told; 2] {
        let batches = self.batches();
        self.step.send_replace("upload");
        let id = self.create().await;
        for (number, batch) in batches.iter().enumerate() {
            self.upload(&id, number, batch).await;
        }
        self.step.send_replace("work");
        self.seal(&id, &batches).await;
        let first = self.end(&id).await;
        self.step.send_replace("retry");
        self.retry(&id).await;
        [first, self.end(&id).await]
    }

    /// The sample in some order.
    fn batches(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut records = sample::records();
        for at in (1..records.len()).rev() {
            records.swap(at, self.dice.below(at + 1));
        }
        records.chunks(BATCH).map(<[_]>::to_vec).collect()
    }

    /// Calls one replica after the other until it is done.
    async fn insist<T, F>(&self, call: impl Fn(Caller) -> F) -> T
    where
        F: Future<Output = Result<T, Status>>,
    {
        let again = async {
            for replica in self.replicas.iter().cycle() {
                match call(replica.clone()).await {
                    Ok(answer) => return answer,
                    Err(status) => {
                        assert!(EXPECTED.contains(&failure(&status)), "{status:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            unreachable!("there is a replica")
        };
        tokio::time::timeout(PATIENCE, again).await.expect("an answer in time")
    }

    async fn create(&self) -> String {
        let create = |caller: Caller| async move {
            caller.imports().create_import(CreateImportRequest::default()).await
        };
        self.insist(create).await.into_inner().import.unwrap().id
    }

    async fn upload(&self, id: &str, number: usize, records: &[Vec<u8>]) {
        let header = BatchHeader {
            import_id: id.to_owned(),
            batch_key: format!("b{number}"),
            ..BatchHeader::default()
        };
        let records: Vec<_> = records.iter().map(|record| record.clone().into()).collect();
        let parts = [
            Part::Header(header),
            Part::Frame(BatchFrame { records }),
            Part::Commit(BatchCommit::default()),
        ];
        let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
        let upload = |caller: Caller| {
            let parts = futures::stream::iter(parts.clone());
            async move { caller.imports().upload_batch(parts).await }
        };
        self.insist(upload).await;
    }

    async fn seal(&self, id: &str, batches: &[Vec<Vec<u8>>]) {
        let request = SealImportRequest {
            import_id: id.to_owned(),
            batch_count: i32::try_from(batches.len()).unwrap(),
            record_count: sample::COUNTS[0],
            ..SealImportRequest::default()
        };
        let seal = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().seal_import(request).await }
        };
        self.insist(seal).await;
    }

    /// Begins the second round. Whoever did not hear the answer looks whether it
    /// has begun: another call would be refused, or begin a third one.
    async fn retry(&self, id: &str) {
        let retry = |caller: Caller| async move {
            let get = GetImportRequest { import_id: id.to_owned() };
            let import = caller.imports().get_import(get).await?.into_inner().import.unwrap();
            if import.round > 1 {
                return Ok(());
            }
            let request = RetryImportRequest { import_id: id.to_owned(), replacements: false };
            match caller.imports().retry_import(request).await {
                // The call of a process that was killed has come through meanwhile.
                Err(status) if status.code() == Code::FailedPrecondition => {
                    Err(Status::unavailable("the round has begun"))
                }
                answer => answer.map(drop),
            }
        };
        self.insist(retry).await;
    }

    /// Watches to the end of the round.
    async fn end(&self, id: &str) -> Told {
        let import = self.insist(|caller| watch_to_the_end(caller, id)).await;
        assert_eq!(import.state(), ImportState::CompletedWithFailures);
        let request =
            ListFailuresRequest { import_id: id.into(), page_size: 1_000, ..Default::default() };
        let list = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().list_failures(request).await }
        };
        let listed = self.insist(list).await.into_inner().failures.into_iter();
        let place = |listed| Listed { batch_key: String::new(), row: 0, ..listed };
        let mut failures: Vec<_> = listed.map(|one| format!("{:?}", place(one))).collect();
        failures.sort();
        Told { counters: import.counters.unwrap(), failures }
    }
}

async fn watch_to_the_end(caller: Caller, id: &str) -> Result<Import, Status> {
    let request = WatchImportRequest { import_id: id.to_owned() };
    let mut stream = caller.imports().watch_import(request).await?.into_inner();
    let mut last = None;
    while let Some(told) = stream.message().await? {
        last = told.import;
    }
    last.ok_or_else(|| Status::unavailable("the stream said nothing"))
}
