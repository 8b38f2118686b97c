//! Calls, as many as are answered, or as many as are wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use shared::{
    ids::new_uuid,
    pb::records::{CreateClientResponse, GetClientRequest},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, interval, timeout},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    caller::Caller,
    records::{company, reason},
};

/// Callers who wait for their answer before they call again.
const CALLERS: usize = 16;

/// Calls under way at the most: what this side can hold.
const UNDER_WAY: usize = 4_000;

/// Longer than any answer or refusal may take: whoever waits longer hangs.
const NEVER: Duration = Duration::from_secs(45);

/// How often new calls are made.
const TICK: Duration = Duration::from_millis(10);

/// What became of many calls.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// References and ids of the clients that were acknowledged, by practice.
    pub(super) clients: BTreeMap<String, BTreeMap<String, String>>,
    /// The changes that were acknowledged.
    pub(super) changes: BTreeSet<String>,
    pub(super) refused: usize,
    /// How long the calls took that were taken.
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

    fn note(&mut self, one: One) {
        match one {
            One::Created(practice, created, took) => {
                self.created(&practice, *created);
                self.answered.push(took);
            }
            One::Read(took) => self.answered.push(took),
            One::Refused => self.refused += 1,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (practice, clients) in other.clients {
            self.clients.entry(practice).or_default().extend(clients);
        }
        self.changes.extend(other.changes);
    }

    /// Calls that were answered in each second of so much time.
    pub(super) fn answered_per_second(&self, time: Duration) -> f64 {
        f64::from(u32::try_from(self.answered.len()).unwrap()) / time.as_secs_f64()
    }

    /// Within how much time so many of a hundred were answered.
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
            "{offered} pairs were offered, {answered} calls were answered (half of them in \
             {half:?}, 99 of 100 in {most:?}) and {refused} refused"
        )
    }
}

/// What became of one call.
#[derive(Debug)]
enum One {
    Created(String, Box<CreateClientResponse>, Duration),
    Read(Duration),
    Refused,
}

/// How many calls are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rush {
    pub(super) per_second: f64,
    pub(super) time: Duration,
}

/// Whether the replica said that it has too much to do, and when to come again.
pub(super) fn is_refusal(status: &Status) -> bool {
    let known = matches!(
        (status.code(), reason(status).as_str()),
        (Code::Unavailable, "OVERLOADED") | (Code::ResourceExhausted, "LIMIT_REACHED")
    );
    let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    known && delay.is_some_and(|delay| delay > Duration::ZERO)
}

/// Creates a client, and reads it.
async fn pair(caller: &Caller, practice: &str, tell: &mpsc::UnboundedSender<One>) {
    let request = company(&new_uuid().to_string(), "Acme Limited");
    let began = Instant::now();
    let created = timeout(NEVER, caller.clients().create_client(request)).await;
    let created = match created.expect("an answer or a refusal") {
        Ok(created) => created.into_inner(),
        Err(status) => return refused(&status, tell),
    };
    let client = created.client.clone().unwrap().id;
    tell.send(One::Created(practice.to_owned(), Box::new(created), began.elapsed())).unwrap();
    let began = Instant::now();
    let read = timeout(NEVER, caller.clients().get_client(GetClientRequest { client })).await;
    match read.expect("an answer or a refusal") {
        Ok(_) => tell.send(One::Read(began.elapsed())).unwrap(),
        Err(status) => refused(&status, tell),
    }
}

fn refused(status: &Status, tell: &mpsc::UnboundedSender<One>) {
    assert!(is_refusal(status), "{status:?}");
    tell.send(One::Refused).unwrap();
}

/// How many pairs a second are done when everyone waits for the answer.
pub(super) async fn closed_loop(callers: &[(String, Caller)], time: Duration) -> (f64, Outcomes) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let until = Instant::now() + time;
    let tasks = callers.iter().cycle().take(CALLERS).cloned().map(|(practice, caller)| {
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut pairs = 0_u32;
            while Instant::now() < until {
                pair(&caller, &practice, &tell).await;
                pairs += 1;
            }
            pairs
        })
    });
    let tasks: Vec<_> = tasks.collect();
    drop(tell);
    let mut outcomes = Outcomes::default();
    while let Some(one) = told.recv().await {
        outcomes.note(one);
    }
    let mut pairs = 0;
    for task in tasks {
        pairs += task.await.unwrap();
    }
    assert_eq!(outcomes.refused, 0, "sixteen callers are not too many");
    (f64::from(pairs) / time.as_secs_f64(), outcomes)
}

/// Makes so many pairs of calls, whether the ones before are answered or not.
pub(super) async fn open_loop(callers: &[(String, Caller)], rush: Rush) -> Outcomes {
    let (tell, mut told) = mpsc::unbounded_channel();
    let offering = tokio::spawn(offer(callers.to_vec(), rush, tell));
    let mut outcomes = Outcomes::default();
    while let Some(one) = told.recv().await {
        outcomes.note(one);
    }
    outcomes.offered = offering.await.unwrap();
    outcomes
}

async fn offer(
    callers: Vec<(String, Caller)>,
    rush: Rush,
    tell: mpsc::UnboundedSender<One>,
) -> usize {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut callers = callers.iter().cycle();
    let (mut tick, began, mut offered) = (interval(TICK), Instant::now(), 0);
    let mut tasks = tokio::task::JoinSet::new();
    while began.elapsed() < rush.time {
        tick.tick().await;
        let due = rush.per_second * began.elapsed().as_secs_f64();
        while f64::from(offered) < due {
            offered += 1;
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { break };
            let (practice, caller) = callers.next().unwrap().clone();
            tasks.spawn(one(caller, practice, tell.clone(), place));
        }
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    drop(tell);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    usize::try_from(offered).unwrap()
}

async fn one(
    caller: Caller,
    practice: String,
    tell: mpsc::UnboundedSender<One>,
    _place: OwnedSemaphorePermit,
) {
    pair(&caller, &practice, &tell).await;
}
