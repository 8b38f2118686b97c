//! The latency of a read and of a write at half of the maximum throughput: at a fixed rate,
//! from the scheduled time of each call.

use std::{sync::Arc, time::Duration};

use super::{create_client, get_client};
use crate::{
    databases::{Databases, Engine},
    load::{Worker, closed_loop, fixed_rate},
    measure::{Plan, milliseconds},
    output,
    process::Process,
    report::Time,
    sample,
    service::{self, PRACTICE, PRODUCTS},
};

/// Concurrent calls in the calibration of the maximum throughput.
const IN_FLIGHT: usize = 16;

/// Callers at a fixed rate. A call that is due while all callers are busy is sent late; its
/// latency includes the delay.
const CALLERS: usize = 64;

/// Pause after the calibration, in which its changes are sequenced.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Time>> {
    let process = Process::records(databases.location(engine, "latency").await?).await?;
    service::connect_products(process.url(), PRACTICE, &PRODUCTS).await?;
    let clients = service::clients(process.url()).await?;
    let ids: Arc<[String]> = sample::fill_through(&clients, plan.clients).await?.into();
    databases.analyze(engine).await?;
    let readers = get_client::spread(&clients, &ids, CALLERS);
    let writers = create_client::spread(&clients, CALLERS);
    let times = vec![
        at_half(plan, engine, "GetClient", &readers).await?,
        at_half(plan, engine, "CreateClient", &writers).await?,
    ];
    process.stop().await?;
    Ok(times)
}

async fn at_half<W: Worker>(
    plan: &Plan,
    engine: Engine,
    call: &str,
    workers: &[W],
) -> anyhow::Result<Time> {
    let few = workers.get(..IN_FLIGHT).unwrap_or(workers);
    closed_loop(few, plan.warm_up).await?;
    let reached = closed_loop(few, plan.turn).await?.per_second;
    tokio::time::sleep(PAUSE).await;
    let wanted = (reached / 2.0).max(1.0);
    let paced = fixed_rate(workers, wanted, plan.turn * plan.rounds).await?;
    // The callers share a runtime; report what it adds to the latencies.
    output::note(format_args!(
        "latency of {call} on {engine}: {:.0} of {wanted:.0} calls/s achieved, p99 sent {:.1} ms \
         late",
        paced.per_second,
        milliseconds(paced.lateness.value_at_quantile(0.99)),
    ));
    let beside = format!("{call}, {wanted:.0}/s: half of the maximum with {IN_FLIGHT} in flight");
    Ok(Time::of("latency", engine, beside, &paced.latency, None))
}
