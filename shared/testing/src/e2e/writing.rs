//! Writers that retry through failures. Each write is idempotent: it is retried with its
//! request id until it is answered.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::NaiveDate;
use concord_proto::pb::records::{
    Client, ClientFields, Entry, EntryStatus, GetClientRequest, Timeline,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use super::{
    caller::{Caller, request_id},
    failure::{Failure, failure},
    follower::ReceivedEvent,
    records::{company, name_entry, reason, update_request},
    rng::SeededRng,
};

/// A call without an answer after this time is taken as lost.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// Records of a practice that are written to at the same time. They are few, so that
/// writers conflict.
const RECORDS: usize = 4;

/// The percentage of writes that create a record.
const CREATIONS: usize = 25;

/// A change whose write was acknowledged by the service.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub change: String,
    practice: String,
    record: String,
    /// When the request was sent and when it was answered, in ticks of a logical clock.
    sent: u64,
    answered: u64,
}

/// All acknowledged changes of all writers.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Arc<Mutex<Vec<Acknowledged>>>,
    ticks: Arc<AtomicU64>,
    retries: Arc<AtomicU64>,
}

impl Ledger {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    pub fn entries(&self) -> Vec<Acknowledged> {
        self.entries.lock().unwrap().clone()
    }

    /// The number of changes acknowledged so far.
    pub fn count(&self) -> i64 {
        i64::try_from(self.entries.lock().unwrap().len()).unwrap()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retries = self.retries.load(Ordering::SeqCst);
        write!(f, "{} changes, {retries} retried calls", self.count())
    }
}

/// A practice that writers change through any replica.
#[derive(Clone, Debug)]
pub struct Practice {
    name: String,
    replicas: Vec<Caller>,
    /// The failures that its writers tolerate.
    expected: &'static [Failure],
    /// The newest records.
    records: Arc<Mutex<Vec<String>>>,
    ledger: Ledger,
}

impl Practice {
    pub fn new(
        name: &str,
        replicas: Vec<Caller>,
        expected: &'static [Failure],
        ledger: &Ledger,
    ) -> Self {
        let (name, ledger) = (name.to_owned(), ledger.clone());
        Self { name, replicas, expected, records: Arc::default(), ledger }
    }

    /// Writes until `stop` is cancelled, with a pause of at most `pause` milliseconds
    /// between writes. Completes a write that has started.
    pub fn write(&self, rng: SeededRng, pause: usize, stop: &CancellationToken) -> JoinHandle<()> {
        let mut writer = Writer { practice: self.clone(), rng };
        let stop = stop.clone();
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                writer.write().await;
                tokio::time::sleep(writer.rng.millis(pause)).await;
            }
        })
    }

    /// Reads the version of a record.
    pub async fn version(&self, record: &str) -> i64 {
        let request = GetClientRequest { client: record.to_owned() };
        let got = self.replicas[0].clients().get_client(request).await;
        got.unwrap().into_inner().client.unwrap().version
    }
}

/// One of the writers of a practice.
#[derive(Debug)]
struct Writer {
    practice: Practice,
    rng: SeededRng,
}

impl Writer {
    async fn write(&mut self) {
        let records = self.practice.records.lock().unwrap().clone();
        if records.is_empty() || self.rng.chance(CREATIONS) {
            self.create().await;
        } else {
            let record = self.rng.pick(&records).clone();
            let read = self.read(&record).await;
            if self.rng.chance(50) { self.update(&read).await } else { self.rename(&read).await }
        }
    }

    async fn create(&mut self) {
        let request = company(&request_id(), "Acme Limited");
        let sent = self.practice.ledger.tick();
        let created = self.call(request, |caller, request| async move {
            caller.clients().create_client(request).await
        });
        let created = created.await.unwrap();
        let record = created.client.unwrap().id;
        self.record_acknowledged(&record, created.change_ids, sent);
        let mut records = self.practice.records.lock().unwrap();
        records.push(record);
        if records.len() > RECORDS {
            records.remove(0);
        }
    }

    async fn read(&mut self, record: &str) -> Client {
        let request = GetClientRequest { client: record.to_owned() };
        let read = self.call(request, |caller, request| async move {
            caller.clients().get_client(request).await
        });
        read.await.unwrap().client.unwrap()
    }

    async fn update(&mut self, client: &Client) {
        let phone = format!("020 7946 {:04}", self.rng.below(10_000));
        let fields = ClientFields { phones: vec![phone], ..ClientFields::default() };
        let request = update_request(client, &["phones"], fields);
        let sent = self.practice.ledger.tick();
        let updated = self.call(request, |caller, request| async move {
            caller.clients().update_client(request).await
        });
        if let Some(updated) = unless_stale(updated.await) {
            self.record_acknowledged(&client.id, updated.change_ids, sent);
        }
    }

    /// Adds a name that starts the day after the current name of the company started.
    async fn rename(&mut self, client: &Client) {
        let current = current_name(client);
        let started: NaiveDate = current.active_from.parse().unwrap();
        let day = started.succ_opt().unwrap().to_string();
        let name = format!("Acme {} Limited", self.rng.below(1_000_000));
        let request = name_entry(&client.id, &name, &day, &current.etag);
        let sent = self.practice.ledger.tick();
        let added = self.call(request, |caller, request| async move {
            caller.history().add_entry(request).await
        });
        if let Some(added) = unless_stale(added.await) {
            self.record_acknowledged(&client.id, added.change_ids, sent);
        }
    }

    fn record_acknowledged(&self, record: &str, changes: Vec<String>, sent: u64) {
        let Practice { name, ledger, .. } = &self.practice;
        let answered = ledger.tick();
        let entry = |change| Acknowledged {
            change,
            practice: name.clone(),
            record: record.to_owned(),
            sent,
            answered,
        };
        ledger.entries.lock().unwrap().extend(changes.into_iter().map(entry));
    }

    /// Calls random replicas until one answers.
    async fn call<R, T, F, Fut>(&mut self, request: R, call: F) -> Result<T, Status>
    where
        R: Clone,
        F: Fn(Caller, R) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        loop {
            let replica = self.rng.pick(&self.practice.replicas).clone();
            let status = match call(replica, request.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let failure = failure(&status);
            if failure == Failure::Rejected {
                return Err(status);
            }
            assert!(self.practice.expected.contains(&failure), "{status:?}");
            assert!(Instant::now() < deadline, "a write was never answered: {status:?}");
            self.practice.ledger.retries.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.rng.millis(40)).await;
        }
    }
}

/// Returns the answer, or none if another writer was first (`ETAG_MISMATCH`).
fn unless_stale<T>(outcome: Result<T, Status>) -> Option<T> {
    match outcome {
        Ok(answer) => Some(answer),
        Err(status) => {
            let expected = (Code::Aborted, "ETAG_MISMATCH");
            assert_eq!((status.code(), reason(&status).as_str()), expected, "{status:?}");
            None
        }
    }
}

fn current_name(client: &Client) -> &Entry {
    let is_current = |entry: &&Entry| {
        entry.timeline() == Timeline::RegisteredName && entry.status() == EntryStatus::Current
    };
    client.entries.iter().find(is_current).unwrap()
}

/// Checks a feed after the writers have ended:
///
/// - It has every acknowledged change exactly once, and no other change.
/// - Positions are dense, and so are the versions of each record.
/// - A change that was answered before another write of its record was sent precedes
///   that write.
pub async fn check_feed(feed: &[ReceivedEvent], ledger: &Ledger, practices: &[&Practice]) {
    let entries = ledger.entries();
    let answered: HashMap<&str, &Acknowledged> =
        entries.iter().map(|entry| (entry.change.as_str(), entry)).collect();
    assert_eq!(answered.len(), entries.len(), "each change is acknowledged once");
    let delivered: HashSet<&str> = feed.iter().map(|event| event.change.as_str()).collect();
    assert_eq!(delivered.len(), feed.len(), "each change is in the feed once");
    let lost: Vec<_> = entries.iter().filter(|e| !delivered.contains(e.change.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged, but not in the feed: {lost:#?}");
    let unexpected: Vec<_> =
        feed.iter().filter(|event| !answered.contains_key(&*event.change)).collect();
    assert!(unexpected.is_empty(), "in the feed, but never acknowledged: {unexpected:#?}");
    assert!(feed.iter().map(|event| event.position).eq(1..=ledger.count()), "dense positions");
    for (record, changes) in by_record(feed) {
        let practice = practices.iter().find(|p| p.name == changes[0].practice).unwrap();
        let versions = changes.iter().map(|change| change.version);
        assert!(versions.eq(1..=practice.version(record).await), "{record}: {changes:#?}");
        check_real_time(&changes, &answered);
    }
}

fn by_record(feed: &[ReceivedEvent]) -> HashMap<&str, Vec<&ReceivedEvent>> {
    feed.iter().fold(HashMap::new(), |mut records, event| {
        records.entry(event.record.as_str()).or_default().push(event);
        records
    })
}

/// Checks that a change that was answered before another one of its record was sent
/// precedes it in the feed.
fn check_real_time(changes: &[&ReceivedEvent], answered: &HashMap<&str, &Acknowledged>) {
    let mut newest_sent = 0;
    for event in changes {
        let entry = answered[event.change.as_str()];
        assert_eq!((&entry.record, &entry.practice), (&event.record, &event.practice));
        assert!(entry.answered > newest_sent, "out of order: {entry:?} in {changes:#?}");
        newest_sent = newest_sent.max(entry.sent);
    }
}
