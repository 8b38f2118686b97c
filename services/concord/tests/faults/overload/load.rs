//! Load generators: closed loop and open loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use concord_core::ids::new_uuid;
use concord_proto::pb::records::{CreateClientResponse, GetClientRequest};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, interval, timeout},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use concord_testing::e2e::{
    caller::Caller,
    records::{company, reason},
};

/// The number of concurrent callers of the closed loop.
const CALLERS: usize = 16;

/// The maximum number of calls in flight of the open loop.
const MAX_IN_FLIGHT: usize = 4_000;

/// The timeout of a call, above the longest time of any response or rejection.
const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// The interval at which new calls are started.
const TICK: Duration = Duration::from_millis(10);

/// The outcomes of many calls.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// References and ids of the acknowledged clients, by practice.
    pub(super) clients: BTreeMap<String, BTreeMap<String, String>>,
    /// The acknowledged changes.
    pub(super) changes: BTreeSet<String>,
    pub(super) refused: usize,
    /// The latencies of successful calls.
    answered: Vec<Duration>,
    offered: usize,
}

impl Outcomes {
    pub(super) fn created(&mut self, practice: &str, created: CreateClientResponse) {
        let client = created.client.unwrap();
        let clients = self.clients.entry(practice.to_owned()).or_default();
        assert!(clients.insert(client.client_reference, client.id).is_none());
        self.changes.extend(created.change_ids);
    }

    fn record(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Created(practice, created, took) => {
                self.created(&practice, *created);
                self.answered.push(took);
            }
            Outcome::Read(took) => self.answered.push(took),
            Outcome::Refused => self.refused += 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (practice, clients) in other.clients {
            self.clients.entry(practice).or_default().extend(clients);
        }
        self.changes.extend(other.changes);
    }

    /// Successful calls a second.
    pub(super) fn answered_per_second(&self, time: Duration) -> f64 {
        f64::from(u32::try_from(self.answered.len()).unwrap()) / time.as_secs_f64()
    }

    /// A percentile of the latency of successful calls.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut answered = self.answered.clone();
        answered.sort();
        let at = (answered.len() * percent / 100).min(answered.len().saturating_sub(1));
        answered.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (half, most) = (self.percentile(50), self.percentile(99));
        let Self { offered, refused, .. } = self;
        let answered = self.answered.len();
        write!(
            f,
            "{offered} pairs offered, {answered} calls answered (p50 {half:?}, p99 {most:?}), \
             {refused} rejected"
        )
    }
}

/// The outcome of one call.
#[derive(Debug)]
enum Outcome {
    Created(String, Box<CreateClientResponse>, Duration),
    Read(Duration),
    Refused,
}

/// The load of the open loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) per_second: f64,
    pub(super) time: Duration,
}

/// Whether the status is a rejection because of overload or a limit, with a retry delay. On
/// a slow machine a call may also wait too long for a database connection: `UNAVAILABLE`.
pub(super) fn is_load_shed(status: &Status) -> bool {
    let known = matches!(
        (status.code(), reason(status).as_str()),
        (Code::Unavailable, "OVERLOADED" | "UNAVAILABLE")
            | (Code::ResourceExhausted, "LIMIT_REACHED")
    );
    let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    known && delay.is_some_and(|delay| delay > Duration::ZERO)
}

/// Creates a client, and reads it.
async fn create_and_read(
    caller: &Caller,
    practice: &str,
    outcomes: &mpsc::UnboundedSender<Outcome>,
) {
    let request = company(&new_uuid().to_string(), "Acme Limited");
    let started = Instant::now();
    let created = timeout(CALL_TIMEOUT, caller.clients().create_client(request)).await;
    let created = match created.expect("a response or a rejection") {
        Ok(created) => created.into_inner(),
        Err(status) => return rejected(&status, outcomes),
    };
    let client = created.client.clone().unwrap().id;
    outcomes
        .send(Outcome::Created(practice.to_owned(), Box::new(created), started.elapsed()))
        .unwrap();
    let started = Instant::now();
    let read =
        timeout(CALL_TIMEOUT, caller.clients().get_client(GetClientRequest { client })).await;
    match read.expect("a response or a rejection") {
        Ok(_) => outcomes.send(Outcome::Read(started.elapsed())).unwrap(),
        Err(status) => rejected(&status, outcomes),
    }
}

fn rejected(status: &Status, outcomes: &mpsc::UnboundedSender<Outcome>) {
    assert!(is_load_shed(status), "{status:?}");
    outcomes.send(Outcome::Refused).unwrap();
}

/// Measures the capacity in pairs a second: each caller waits for the response before its next
/// call.
pub(super) async fn closed_loop(callers: &[(String, Caller)], time: Duration) -> (f64, Outcomes) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let until = Instant::now() + time;
    let tasks = callers.iter().cycle().take(CALLERS).cloned().map(|(practice, caller)| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut pairs = 0_u32;
            while Instant::now() < until {
                create_and_read(&caller, &practice, &sender).await;
                pairs += 1;
            }
            pairs
        })
    });
    let tasks: Vec<_> = tasks.collect();
    drop(sender);
    let mut outcomes = Outcomes::default();
    while let Some(outcome) = receiver.recv().await {
        outcomes.record(outcome);
    }
    let mut pairs = 0;
    for task in tasks {
        pairs += task.await.unwrap();
    }
    assert_eq!(outcomes.refused, 0, "sixteen callers are within the capacity");
    (f64::from(pairs) / time.as_secs_f64(), outcomes)
}

/// Starts pairs of calls at a fixed rate, whether or not earlier calls were answered.
pub(super) async fn open_loop(callers: &[(String, Caller)], load: Load) -> Outcomes {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let offering = tokio::spawn(offer(callers.to_vec(), load, sender));
    let mut outcomes = Outcomes::default();
    while let Some(outcome) = receiver.recv().await {
        outcomes.record(outcome);
    }
    outcomes.offered = offering.await.unwrap();
    outcomes
}

async fn offer(
    callers: Vec<(String, Caller)>,
    load: Load,
    outcomes: mpsc::UnboundedSender<Outcome>,
) -> usize {
    let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let mut callers = callers.iter().cycle();
    let (mut tick, started, mut offered) = (interval(TICK), Instant::now(), 0);
    let mut tasks = tokio::task::JoinSet::new();
    while started.elapsed() < load.time {
        tick.tick().await;
        let due = load.per_second * started.elapsed().as_secs_f64();
        while f64::from(offered) < due {
            offered += 1;
            let Ok(permit) = Arc::clone(&in_flight).try_acquire_owned() else { break };
            let (practice, caller) = callers.next().unwrap().clone();
            tasks.spawn(run(caller, practice, outcomes.clone(), permit));
        }
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    drop(outcomes);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    usize::try_from(offered).unwrap()
}

async fn run(
    caller: Caller,
    practice: String,
    outcomes: mpsc::UnboundedSender<Outcome>,
    _permit: OwnedSemaphorePermit,
) {
    create_and_read(&caller, &practice, &outcomes).await;
}
