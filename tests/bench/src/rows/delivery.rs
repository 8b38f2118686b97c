//! Event delivery: from the commit of a change to its subscriber, on an idle service and
//! during an import of another practice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use concord_core::ids::new_uuid;
use concord_proto::pb::{imports::ImportClient, records::StartFrom};
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
    sample::{self, UniqueValues},
    service::{Clients, Service},
};

/// Changes per second on an idle service.
const IDLE_RATE: u64 = 200;
/// Changes per second during an import.
const IMPORT_RATE: u64 = 20;
/// The practice of the import.
const IMPORTING_PRACTICE: &str = "mover";
/// Timeout for the delivery of the last change.
const TIMEOUT: Duration = Duration::from_mins(1);

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Time>> {
    let service = Service::start(databases.fresh(engine, "delivery").await?).await?;
    service.connect_products(IMPORTING_PRACTICE).await?;
    sample::fill(&service, plan.clients).await?;
    databases.analyze(engine).await?;
    let clients = service.clients().await?;
    let events = EventRecorder::open(&service).await?;

    output::note(format_args!("delivery on {engine}: {IDLE_RATE} changes per second"));
    let until = Instant::now() + plan.turn * plan.rounds;
    let idle = change(&clients, IDLE_RATE, || Instant::now() < until).await?;
    let idle = events.latencies(idle).await?;

    let records = plan.imported;
    output::note(format_args!("delivery on {engine}: during an import of {records} records"));
    let wire = service.wire(chunks::importer(IMPORTING_PRACTICE)).await?;
    let import = tokio::spawn(chunks::apply(wire, records, company));
    let importing = change(&clients, IMPORT_RATE, || !import.is_finished()).await?;
    import.await??;
    let importing = events.latencies(importing).await?;
    service.stop().await?;

    let line = |load: String, target_ms, times| time(engine, load, target_ms, times);
    Ok(vec![
        line(format!("{IDLE_RATE} changes/s"), 50.0, idle)?,
        line(format!("an import of {records} records"), 500.0, importing)?,
    ])
}

fn time(
    database: Engine,
    load: String,
    target_ms: f64,
    times: Vec<Duration>,
) -> anyhow::Result<Time> {
    let mut latency = new_histogram()?;
    for time in times {
        latency.saturating_record(micros(time));
    }
    Ok(Time::of("delivery", database, load, &latency, Some(target_ms)))
}

/// The time of the response, for each change.
type ResponseTimes = HashMap<String, Instant>;

/// Creates `per_second` clients a second, independent of their duration, while `running`.
async fn change(
    clients: &[Clients],
    per_second: u64,
    running: impl Fn() -> bool,
) -> anyhow::Result<ResponseTimes> {
    let mut ticks = interval(Duration::from_micros(1_000_000 / per_second));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut calls, mut clients) = (JoinSet::new(), clients.iter().cycle());
    let begun = Instant::now();
    while running() {
        ticks.tick().await;
        let mut clients = clients.next().context("no connection")?.clone();
        calls.spawn(async move {
            let created = clients.create_client(sample::request(&UniqueValues::next())).await?;
            Ok::<_, tonic::Status>((created.into_inner().change_ids, Instant::now()))
        });
    }
    // Calls start when they are due, however many are in flight. The number of calls shows
    // whether the rate was achieved.
    note_rate(per_second, calls.len(), begun.elapsed());
    let mut responses = ResponseTimes::new();
    while let Some(call) = calls.join_next().await {
        let (changes, at) = call.context("a caller panicked")??;
        responses.extend(changes.into_iter().map(|change| (change, at)));
    }
    Ok(responses)
}

/// Reports the achieved rate.
fn note_rate(wanted: u64, changes: usize, time: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "changes of minutes")]
    let achieved = changes as f64 / time.as_secs_f64();
    output::note(format_args!("{achieved:.0} of {wanted} changes per second"));
}

/// A subscriber of another product that records the time of each event.
struct EventRecorder {
    received: Arc<Mutex<HashMap<String, Instant>>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl EventRecorder {
    async fn open(service: &Service) -> anyhow::Result<Self> {
        let subscriber = Subscriber::connect(service.url()).await?;
        let mut stream = subscriber.subscribe(StartFrom::Now).await?;
        let received = Arc::new(Mutex::new(HashMap::new()));
        let events = Arc::clone(&received);
        let task = tokio::spawn(async move {
            loop {
                let batch = feed::events(&mut stream).await?;
                let at = Instant::now();
                let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
                events.extend(batch.events.into_iter().map(|event| (event.change_id, at)));
            }
        });
        Ok(Self { received, task })
    }

    /// The latency of each change from its response, which follows the commit, to its event;
    /// zero if the event was first.
    async fn latencies(&self, responses: ResponseTimes) -> anyhow::Result<Vec<Duration>> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            ensure!(!self.task.is_finished(), "the stream of the subscriber ended");
            ensure!(Instant::now() < deadline, "changes were not delivered within a minute");
            {
                let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
                let times: Option<Vec<Duration>> = responses
                    .iter()
                    .map(|(change, at)| Some(received.get(change)?.saturating_duration_since(*at)))
                    .collect();
                if let Some(times) = times {
                    return Ok(times);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A company with a unique name and reference.
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
