//! Writers that go on through faults: each write is sent again, with its own
//! request id, until it is answered.

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
use shared::pb::records::{
    Client, ClientFields, Entry, EntryStatus, GetClientRequest, Timeline, UpdateClientRequest,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use super::{
    caller::{Caller, request_id},
    dice::Dice,
    failure::{Failure, failure},
    follower::Heard,
    records::{company, reason, renamed},
};

/// A call that was not answered by then, never is.
const PATIENCE: Duration = Duration::from_mins(1);

/// Records of a practice that are written to at the same time: so few that
/// writers meet.
const RECORDS: usize = 4;

/// Of a hundred writes, those that make a new record.
const CREATIONS: usize = 25;

/// A change whose write was answered.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) change: String,
    practice: String,
    record: String,
    /// When its request was sent, and when it was answered: ticks of one clock.
    sent: u64,
    answered: u64,
}

/// Everything that was answered, to all writers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    entries: Arc<Mutex<Vec<Acknowledged>>>,
    ticks: Arc<AtomicU64>,
    retries: Arc<AtomicU64>,
}

impl Ledger {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn entries(&self) -> Vec<Acknowledged> {
        self.entries.lock().unwrap().clone()
    }

    /// How many changes were answered so far.
    pub(crate) fn count(&self) -> i64 {
        i64::try_from(self.entries.lock().unwrap().len()).unwrap()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retries = self.retries.load(Ordering::SeqCst);
        write!(f, "{} changes, {retries} calls sent again", self.count())
    }
}

/// A practice that is written to, through any replica.
#[derive(Clone, Debug)]
pub(crate) struct Practice {
    name: String,
    replicas: Vec<Caller>,
    /// The faults that its callers live with.
    expected: &'static [Failure],
    /// The newest records.
    records: Arc<Mutex<Vec<String>>>,
    ledger: Ledger,
}

impl Practice {
    pub(crate) fn new(
        name: &str,
        replicas: Vec<Caller>,
        expected: &'static [Failure],
        ledger: &Ledger,
    ) -> Self {
        let (name, ledger) = (name.to_owned(), ledger.clone());
        Self { name, replicas, expected, records: Arc::default(), ledger }
    }

    /// Writes until `stop`, with a pause of at most so many milliseconds between
    /// writes; what was begun is brought to its end.
    pub(crate) fn write(
        &self,
        dice: Dice,
        pause: usize,
        stop: &CancellationToken,
    ) -> JoinHandle<()> {
        let mut writer = Writer { practice: self.clone(), dice };
        let stop = stop.clone();
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                writer.write().await;
                tokio::time::sleep(writer.dice.millis(pause)).await;
            }
        })
    }

    /// The version of a record.
    pub(crate) async fn version(&self, record: &str) -> i64 {
        let request = GetClientRequest { client: record.to_owned() };
        let got = self.replicas[0].clients().get_client(request).await;
        got.unwrap().into_inner().client.unwrap().version
    }
}

/// One of the writers of a practice.
#[derive(Debug)]
struct Writer {
    practice: Practice,
    dice: Dice,
}

impl Writer {
    async fn write(&mut self) {
        let records = self.practice.records.lock().unwrap().clone();
        if records.is_empty() || self.dice.chance(CREATIONS) {
            self.create().await;
        } else {
            let record = self.dice.pick(&records).clone();
            let read = self.read(&record).await;
            if self.dice.chance(50) { self.update(&read).await } else { self.rename(&read).await }
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
        self.acknowledged(&record, created.change_ids, sent);
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
        let phone = format!("020 7946 {:04}", self.dice.below(10_000));
        let mask = prost_types::FieldMask { paths: vec!["phones".to_owned()] };
        let request = UpdateClientRequest {
            client: client.id.clone(),
            fields: Some(ClientFields { phones: vec![phone], ..ClientFields::default() }),
            update_mask: Some(mask),
            etag: client.etag.clone(),
            request_id: request_id(),
            ..UpdateClientRequest::default()
        };
        let sent = self.practice.ledger.tick();
        let updated = self.call(request, |caller, request| async move {
            caller.clients().update_client(request).await
        });
        if let Some(updated) = unless_stale(updated.await) {
            self.acknowledged(&client.id, updated.change_ids, sent);
        }
    }

    /// Gives a company another name from the day after the one on which its
    /// present name began.
    async fn rename(&mut self, client: &Client) {
        let current = current_name(client);
        let began: NaiveDate = current.active_from.parse().unwrap();
        let day = began.succ_opt().unwrap().to_string();
        let name = format!("Acme {} Limited", self.dice.below(1_000_000));
        let request = renamed(&client.id, &name, &day, &current.etag);
        let sent = self.practice.ledger.tick();
        let added = self.call(request, |caller, request| async move {
            caller.history().add_entry(request).await
        });
        if let Some(added) = unless_stale(added.await) {
            self.acknowledged(&client.id, added.change_ids, sent);
        }
    }

    fn acknowledged(&self, record: &str, changes: Vec<String>, sent: u64) {
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

    /// Calls one replica after another until there is an answer.
    async fn call<R, T, F, Fut>(&mut self, request: R, call: F) -> Result<T, Status>
    where
        R: Clone,
        F: Fn(Caller, R) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let late = Instant::now() + PATIENCE;
        loop {
            let replica = self.dice.pick(&self.practice.replicas).clone();
            let status = match call(replica, request.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let failure = failure(&status);
            if failure == Failure::Refused {
                return Err(status);
            }
            assert!(self.practice.expected.contains(&failure), "{status:?}");
            assert!(Instant::now() < late, "a write was never answered: {status:?}");
            self.practice.ledger.retries.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.dice.millis(40)).await;
        }
    }
}

/// The answer; none when another writer was faster.
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

/// What a feed must be after the writers have ended: everything that was answered
/// stands in it exactly once, and nothing else; positions are dense, the versions
/// of each record too; and what was answered before another write of the record
/// was sent stands before it.
pub(crate) async fn check_feed(feed: &[Heard], ledger: &Ledger, practices: &[&Practice]) {
    let entries = ledger.entries();
    let answered: HashMap<&str, &Acknowledged> =
        entries.iter().map(|entry| (entry.change.as_str(), entry)).collect();
    assert_eq!(answered.len(), entries.len(), "a change is answered once");
    let heard: HashSet<&str> = feed.iter().map(|heard| heard.change.as_str()).collect();
    assert_eq!(heard.len(), feed.len(), "a change stands in the feed once");
    let lost: Vec<_> = entries.iter().filter(|e| !heard.contains(e.change.as_str())).collect();
    assert!(lost.is_empty(), "answered, and not in the feed: {lost:#?}");
    let made_up: Vec<_> = feed.iter().filter(|h| !answered.contains_key(&*h.change)).collect();
    assert!(made_up.is_empty(), "in the feed, and never answered: {made_up:#?}");
    assert!(feed.iter().map(|heard| heard.position).eq(1..=ledger.count()), "dense");
    for (record, changes) in by_record(feed) {
        let practice = practices.iter().find(|p| p.name == changes[0].practice).unwrap();
        let versions = changes.iter().map(|change| change.version);
        assert!(versions.eq(1..=practice.version(record).await), "{record}: {changes:#?}");
        check_real_time(&changes, &answered);
    }
}

fn by_record(feed: &[Heard]) -> HashMap<&str, Vec<&Heard>> {
    feed.iter().fold(HashMap::new(), |mut records, heard| {
        records.entry(heard.record.as_str()).or_default().push(heard);
        records
    })
}

/// A change that was answered before another one of its record was sent stands
/// before it.
fn check_real_time(changes: &[&Heard], answered: &HashMap<&str, &Acknowledged>) {
    let mut newest_sent = 0;
    for heard in changes {
        let entry = answered[heard.change.as_str()];
        assert_eq!((&entry.record, &entry.practice), (&heard.record, &heard.practice));
        assert!(entry.answered > newest_sent, "out of order: {entry:?} in {changes:#?}");
        newest_sent = newest_sent.max(entry.sent);
    }
}
