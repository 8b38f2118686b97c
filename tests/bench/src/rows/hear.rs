//! From the commit of a change to its subscriber: with nothing else going on, and
//! while another practice is brought over.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use shared::{
    ids::new_uuid,
    pb::{
        imports::{ImportClient, ImportRecord, import_record::Record},
        internal::{ApplyChunkRequest, ingest_service_client::IngestServiceClient},
        records::{
            StartFrom, SubscribeRequest, change_service_client::ChangeServiceClient,
            subscribe_response::Message,
        },
    },
    wire::ApplyRecord,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{
    databases::{Databases, Engine},
    load::micros,
    measure::{Plan, new_histogram},
    output,
    report::Time,
    sample::{self, Novelty},
    service::{Clients, Identity, PRACTICE, Service},
};

/// Changes a second with nothing else going on.
const ALONE: u64 = 200;
/// Changes a second while another practice is brought over.
const BESIDE_IMPORT: u64 = 20;
/// Records of a chunk, as the imports service sends them.
const CHUNK: usize = 1_000;
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
    let import = tokio::spawn(import(service_wire(&service).await?, records));
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
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a minute")]
    let ms = |micros: u64| micros as f64 / 1_000.0;
    Ok(Time {
        row: "hear",
        database,
        beside,
        count: latency.len(),
        p50_ms: ms(latency.value_at_quantile(0.5)),
        p99_ms: ms(latency.value_at_quantile(0.99)),
        max_ms: ms(latency.max()),
        target_ms,
    })
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
    while go_on() {
        ticks.tick().await;
        let mut clients = clients.next().context("no connection")?.clone();
        calls.spawn(async move {
            let created = clients.create_client(sample::request(&Novelty::next())).await?;
            Ok::<_, tonic::Status>((created.into_inner().change_ids, Instant::now()))
        });
    }
    let mut answered = Answered::new();
    while let Some(call) = calls.join_next().await {
        let (changes, at) = call.context("a caller broke")??;
        answered.extend(changes.into_iter().map(|change| (change, at)));
    }
    Ok(answered)
}

/// A subscriber of another product, and what it has heard when.
struct Ears {
    heard: Arc<Mutex<HashMap<String, Instant>>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Ears {
    async fn open(service: &Service) -> anyhow::Result<Self> {
        let mut changes =
            ChangeServiceClient::new(service.wire(Identity::owner(PRACTICE, "books")).await?);
        let request = SubscribeRequest { start_from: StartFrom::Now.into(), ..Default::default() };
        let mut stream = changes.subscribe(request).await?.into_inner();
        let heard = Arc::new(Mutex::new(HashMap::new()));
        let into = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(message) = stream.message().await? {
                let at = Instant::now();
                if let Some(Message::Events(batch)) = message.message {
                    let mut heard = into.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.extend(batch.events.into_iter().map(|event| (event.change_id, at)));
                }
            }
            Ok(())
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

/// The imports service, acting for an import of the other practice.
async fn service_wire(service: &Service) -> anyhow::Result<crate::service::Wire> {
    let identity = Identity {
        roles: "service",
        import: Some("imp_00000000000000000000000000000001"),
        ..Identity::owner(MOVER, "manager")
    };
    service.wire(identity).await
}

/// Applies so many new clients, a chunk after the other.
async fn import(wire: crate::service::Wire, records: usize) -> anyhow::Result<()> {
    let mut ingest = IngestServiceClient::new(wire);
    for chunk in 0..records.div_ceil(CHUNK) {
        let first = chunk * CHUNK;
        let last = records.min(first + CHUNK);
        let records = (first..last).map(record).collect();
        ingest.apply_chunk(ApplyChunkRequest { records, ..ApplyChunkRequest::default() }).await?;
    }
    Ok(())
}

fn record(number: usize) -> ApplyRecord {
    let id = new_uuid().as_simple().to_string();
    let client = ImportClient {
        source_id: format!("C{number}"),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: format!("Harbour {id} Limited"),
        client_reference: id,
        ..ImportClient::default()
    };
    let record = ImportRecord { record: Some(Record::Client(client)) };
    ApplyRecord { record: record.encode_to_vec().into(), ..ApplyRecord::default() }
}
