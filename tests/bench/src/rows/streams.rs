//! The memory of streams that are open and have caught up.
//!
//! What is told is how much the service grows from a first lot of streams to five
//! times as many more. The first ones pay for what is there once: the pools of the
//! database, the tail of the product, the arenas of the allocator. Opening the same
//! number again, after closing it, would show next to nothing: the allocator keeps
//! what it has freed, and would give it out anew.

use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use shared::pb::records::StartFrom;

use crate::{
    databases::{Databases, Engine},
    feed::{self, Changes, Subscriber},
    measure::{Plan, Spread},
    output,
    process::Process,
    report::{Figure, Target},
    sample::{self, Novelty},
    service::{self, Clients, PRACTICE, PRODUCTS},
};

/// What a stream may take, in kB.
const TARGET: f64 = 64.0;

/// Over how many connections the streams that are measured are spread, which are
/// opened with them and counted in.
const CONNECTIONS: usize = 10;

/// The first lot, in parts of the second: as many streams for each connection.
const FIRST: usize = 5;

/// Streams that are being opened at the same time.
const AT_ONCE: usize = 16;

/// How long the service has to put away what the last write took.
const PUT_AWAY: Duration = Duration::from_secs(1);

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let count = if plan.quick { 200 } else { 1_000 };
    let process = Process::records(databases.place(engine, "streams").await?).await?;
    service::connect_products(process.url(), PRACTICE, &PRODUCTS).await?;
    let mut writer = service::clients(process.url()).await?.pop().context("no connection")?;
    output::note(format_args!("streams on {engine}: opening {}", count / FIRST));
    let mut streams = open(process.url(), count / FIRST, CONNECTIONS / FIRST).await?;
    let before = memory(&process, &mut writer, &mut streams).await?;
    output::note(format_args!("streams on {engine}: opening {count} more"));
    streams.extend(open(process.url(), count, CONNECTIONS).await?);
    let after = memory(&process, &mut writer, &mut streams).await?;
    drop(streams);
    process.stop().await?;

    #[expect(clippy::cast_precision_loss, reason = "memory of streams")]
    let each = (after - before) as f64 / count as f64 / 1_024.0;
    Ok(vec![Figure {
        row: "streams",
        database: engine,
        of: format!("memory of each of {count} open streams"),
        unit: "kB",
        figure: Spread::of(vec![each]),
        yardstick: None,
        targets: vec![Target::AtMost(TARGET)],
    }])
}

async fn open(url: &str, count: usize, connections: usize) -> anyhow::Result<Vec<Changes>> {
    let mut subscribers = Vec::with_capacity(connections);
    for _ in 0..connections {
        subscribers.push(Subscriber::connect(url).await?);
    }
    let opening = subscribers.iter().cycle().take(count).map(begin);
    stream::iter(opening).buffer_unordered(AT_ONCE).try_collect().await
}

async fn begin(subscriber: &Subscriber) -> anyhow::Result<Changes> {
    let mut changes = subscriber.subscribe(StartFrom::Now).await?;
    feed::handshake(&mut changes).await?;
    Ok(changes)
}

/// What the service has when all of the streams have heard one write: they have
/// caught up, and have been at work.
async fn memory(
    process: &Process,
    writer: &mut Clients,
    streams: &mut [Changes],
) -> anyhow::Result<i64> {
    writer.create_client(sample::request(&Novelty::next())).await?;
    // All at once: a stream that is not read fills the window of its connection.
    try_join_all(streams.iter_mut().map(feed::events)).await?;
    tokio::time::sleep(PUT_AWAY).await;
    let resident = process.resident().await?;
    output::note(format_args!("{} streams: {} kB", streams.len(), resident / 1_024));
    Ok(resident.try_into()?)
}
