//! From the commit of a change to its subscriber: with nothing else going on, and
//! while another practice is brought over.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use shared::{
    ids::new_uuid,
    pb::{imports::ImportClient, records::StartFrom},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{
    chunks,
    databases::{Databases, Engine},
    feed::{self, Subscriber},
    load::micros,
    measure::{Plan, new_histogram},
    output,
    report::Time,
    sample::{self, Novelty},
    service::{Clients, Service},
};

/// Changes a second with nothing else going on.
const ALONE: u64 = 200;
/// Changes a second while another practice is brought over.
const BESIDE_IMPORT: u64 = 20;
/// The practice that is brought over.
const MOVER: &str = "mover";
/// How long the last change may take to be heard.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Time>> {
    let service = Service::start(databases.fresh(engine, "hear").await?).await?;
    service.connect_products(MOVER).await?;
    sample::fill(&service, plan.clients).await?;
    databases.settle(engine).await?;
    let clients = service.clients().await?;
    let heard = Ears::open(&service).await?;

    output::note(format_args!("hear on {engine}: {ALONE} changes a second"));
    let until = Instant::now() + plan.turn * plan.rounds;
    let alone = change(&clients, ALONE, || Instant::now() < until).await?;
    let alone = heard.times(alone).await?;

    let records = plan.imported;
    output::note(format_args!("hear on {engine}: while {records} records are imported"));
    let wire = service.wire(chunks::importer(MOVER)).await?;
    let import = tokio::spawn(chunks::apply(wire, records, company));
    let beside = change(&clients, BESIDE_IMPORT, || !import.is_finished()).await?;
    import.await??;
    let beside = heard.times(beside).await?;
    service.stop().await?;

    let line = |beside: String, target_ms, times| time(engine, beside, target_ms, times);
    Ok(vec![
        line(format!("{ALONE} changes/s"), 50.0, alone)?,
        line(format!("an import of {records} records"), 500.0, beside)?,
    ])
}

fn time(
    database: Engine,
    beside: String,
    target_ms: f64,
    times: Vec<Duration>,
) -> anyhow::Result<Time> {
    let mut latency = new_histogram()?;
    for time in times {
        latency.saturating_record(micros(time));
    }
    Ok(Time::of("hear", database, beside, &latency, Some(target_ms)))
}

/// The changes that were answered, and when.
type Answered = HashMap<String, Instant>;

/// Creates so many clients a second, however long each takes, while `go_on`.
async fn change(
    clients: &[Clients],
    per_second: u64,
    go_on: impl Fn() -> bool,
) -> anyhow::Result<Answered> {
    let mut ticks = interval(Duration::from_micros(1_000_000 / per_second));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut calls, mut clients) = (JoinSet::new(), clients.iter().cycle());
    let begun = Instant::now();
    while go_on() {
        ticks.tick().await;
        let mut clients = clients.next().context("no connection")?.clone();
        calls.spawn(async move {
            let created = clients.create_client(sample::request(&Novelty::next())).await?;
            Ok::<_, tonic::Status>((created.into_inner().change_ids, Instant::now()))
        });
    }
    // Calls begin when they are due, however many are under way: whether that was
    // so shows in how many there were.
    tell_rate(per_second, calls.len(), begun.elapsed());
    let mut answered = Answered::new();
    while let Some(call) = calls.join_next().await {
        let (changes, at) = call.context("a caller broke")??;
        answered.extend(changes.into_iter().map(|change| (change, at)));
    }
    Ok(answered)
}

/// Says how many changes a second there were.
fn tell_rate(wanted: u64, changes: usize, time: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "changes of minutes")]
    let kept = changes as f64 / time.as_secs_f64();
    output::note(format_args!("{kept:.0} changes a second of {wanted} were begun"));
}

/// A subscriber of another product, and what it has heard when.
struct Ears {
    heard: Arc<Mutex<HashMap<String, Instant>>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Ears {
    async fn open(service: &Service) -> anyhow::Result<Self> {
        let subscriber = Subscriber::connect(service.url()).await?;
        let mut stream = subscriber.subscribe(StartFrom::Now).await?;
        let heard = Arc::new(Mutex::new(HashMap::new()));
        let into = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let batch = feed::events(&mut stream).await?;
                let at = Instant::now();
                let mut heard = into.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend(batch.events.into_iter().map(|event| (event.change_id, at)));
            }
        });
        Ok(Self { heard, task })
    }

    /// How long each change took from its answer, which follows its commit, to
    /// here; nothing when it was here first.
    async fn times(&self, answered: Answered) -> anyhow::Result<Vec<Duration>> {
        let late = Instant::now() + PATIENCE;
        loop {
            ensure!(!self.task.is_finished(), "the stream of the subscriber ended");
            ensure!(Instant::now() < late, "changes were not heard within a minute");
            {
                let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
                let times: Option<Vec<Duration>> = answered
                    .iter()
                    .map(|(change, at)| Some(heard.get(change)?.saturating_duration_since(*at)))
                    .collect();
                if let Some(times) = times {
                    return Ok(times);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A company with a name and a reference that nobody has.
fn company(number: usize) -> ImportClient {
    let id = new_uuid().as_simple().to_string();
    ImportClient {
        source_id: format!("C{number}"),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: format!("Harbour {id} Limited"),
        client_reference: id,
        ..ImportClient::default()
    }
}
