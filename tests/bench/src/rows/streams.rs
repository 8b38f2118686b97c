//! The memory of open streams that have caught up.
//!
//! The figure is the growth of the service from a first set of streams to a second set, five
//! times as large. The first set pays for shared resources: the connection pools, the tail of
//! the product, the arenas of the allocator. Reopening the first set would show almost no
//! growth, because the allocator reuses freed memory.

use std::time::Duration;

use anyhow::Context as _;
use concord_proto::pb::records::StartFrom;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};

use crate::{
    databases::{Databases, Engine},
    feed::{self, Changes, Subscriber},
    measure::{Plan, Spread},
    output,
    process::Process,
    report::{Figure, Target},
    sample::{self, UniqueValues},
    service::{self, Clients, PRACTICE, PRODUCTS},
};

/// Maximum memory of a stream, in kB.
const TARGET: f64 = 64.0;

/// Number of connections of the measured streams. Their memory is included.
const CONNECTIONS: usize = 10;

/// Ratio of the second set to the first, of streams and of connections.
const FIRST: usize = 5;

/// Streams that are opened concurrently.
const CONCURRENCY: usize = 16;

/// Pause after the last write, in which the service frees memory.
const SETTLE_TIME: Duration = Duration::from_secs(1);

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let count = if plan.quick { 200 } else { 1_000 };
    let process = Process::records(databases.location(engine, "streams").await?).await?;
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
    stream::iter(opening).buffer_unordered(CONCURRENCY).try_collect().await
}

async fn begin(subscriber: &Subscriber) -> anyhow::Result<Changes> {
    let mut changes = subscriber.subscribe(StartFrom::Now).await?;
    feed::handshake(&mut changes).await?;
    Ok(changes)
}

/// The memory of the service after all streams have received one event, so that they have
/// caught up and are initialised.
async fn memory(
    process: &Process,
    writer: &mut Clients,
    streams: &mut [Changes],
) -> anyhow::Result<i64> {
    writer.create_client(sample::request(&UniqueValues::next())).await?;
    // Concurrently: an unread stream would fill the flow-control window of its connection.
    try_join_all(streams.iter_mut().map(feed::events)).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let resident = process.resident().await?;
    output::note(format_args!("{} streams: {} kB", streams.len(), resident / 1_024));
    Ok(resident.try_into()?)
}
