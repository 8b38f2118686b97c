//! The growth of costs with size: the same calls in practices of different sizes; and in one
//! practice and many practices of the same total size.
//!
//! Each size has its own service and database. They alternate in each round, so that a slow
//! moment of the machine affects all of them. The yardsticks, which do not depend on the size,
//! show whether it did.

mod calls;
mod costs;
mod dataset_size;
mod feed;
mod instance;
mod names;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use concord_proto::pb::records::GetClientRequest;
use hdrhistogram::Histogram;

pub(crate) use self::dataset_size::DatasetSize;
use self::{
    calls::Call,
    costs::{Costs, Subject},
    instance::Instance,
};
use crate::{
    chunks::CHUNK,
    databases::{Databases, Engine},
    load::micros,
    measure::{Plan, new_histogram},
    output,
    report::Growth,
    service::{self, Clients},
    yardsticks::{bare::Bare, echo, flush::Flush},
};

/// Maximum ratio of a cost at the largest size to that at the smallest.
const TARGET: f64 = 1.3;

/// The warm-up of a turn is the turn divided by this.
const WARM_UP: u32 = 10;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Growth>> {
    let mut growths = Vec::new();
    for (n, sizes) in plan.sizes.iter().enumerate() {
        let mut instances = Vec::with_capacity(sizes.len());
        for (m, size) in sizes.iter().enumerate() {
            let name = format!("growth_{n}_{m}");
            instances.push(Instance::start(databases, engine, &name, *size).await?);
        }
        databases.analyze(engine).await?;
        let mut comparison = Comparison::new(plan, databases, engine, instances).await?;
        let costs = comparison.measure().await?;
        growths.extend(costs.into_iter().map(|costs| costs.growth(engine, sizes)));
        comparison.stop().await?;
    }
    Ok(growths)
}

/// The amount of work in each round.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Duration of the turn of one kind of call on one instance.
    turn: Duration,
    /// Duration of the measurement of event latencies.
    events: Duration,
    /// Records that are applied in addition, in all rounds.
    more: usize,
}

impl Pace {
    fn of(plan: &Plan) -> Self {
        if plan.quick {
            Self { turn: plan.turn / 25, events: plan.turn / 4, more: 2_000 }
        } else {
            Self { turn: plan.turn / 4, events: plan.turn, more: 20_000 }
        }
    }
}

/// The subject of a turn.
enum Turn<'a> {
    Call(Call),
    Echo(&'a Clients),
    Flush(&'a Flush),
}

/// The instances, and the yardsticks.
struct Comparison {
    engine: Engine,
    rounds: u32,
    pace: Pace,
    instances: Vec<Instance>,
    echo: Bare,
    flush: Flush,
}

impl Comparison {
    async fn new(
        plan: &Plan,
        databases: &Databases,
        engine: Engine,
        mut instances: Vec<Instance>,
    ) -> anyhow::Result<Self> {
        let first = instances.first_mut().context("no size to measure")?;
        let echo = echo::start(calls::get(first).await?.0).await?;
        let flush = Flush::open(databases.folder()).await?;
        Ok(Self { engine, rounds: plan.rounds, pace: Pace::of(plan), instances, echo, flush })
    }

    async fn measure(&mut self) -> anyhow::Result<Vec<Costs>> {
        let mut costs = self.calls().await?;
        costs.push(self.events().await?);
        costs.extend(self.more().await?);
        costs.extend(self.space().await?);
        Ok(costs)
    }

    /// Measures the latencies of the calls and the yardsticks.
    async fn calls(&mut self) -> anyhow::Result<Vec<Costs>> {
        let echo = service::clients(self.echo.url()).await?.pop().context("no connection")?;
        let sizes: Vec<DatasetSize> = self.instances.iter().map(|instance| instance.size).collect();
        let mut turns: Vec<Turn<'_>> =
            Call::comparable(&sizes).iter().copied().map(Turn::Call).collect();
        turns.extend([Turn::Echo(&echo), Turn::Flush(&self.flush)]);
        let mut costs: Vec<Costs> =
            turns.iter().map(|turn| Costs::new(turn.subject(), self.instances.len())).collect();
        for round in 0..self.rounds {
            output::note(format_args!(
                "growth on {}: round {} of {}",
                self.engine,
                round + 1,
                self.rounds
            ));
            for (turn, costs) in turns.iter().zip(&mut costs) {
                for n in order(round, self.instances.len()) {
                    let instance = self.instances.get_mut(n).context("no instance")?;
                    costs.add_latency(n, &turn.run(instance, self.pace.turn).await?)?;
                }
            }
        }
        Ok(costs)
    }

    /// Measures the event latency at a constant rate of changes.
    async fn events(&mut self) -> anyhow::Result<Costs> {
        let of = format!("An event, at {} changes/s", feed::CHANGES_PER_SECOND);
        let mut costs = Costs::new(bounded(latency(of)), self.instances.len());
        for round in 0..self.rounds {
            for n in order(round, self.instances.len()) {
                let instance = self.instances.get_mut(n).context("no instance")?;
                costs.add_latency(n, &feed::event_latency(instance, self.pace.events).await?)?;
            }
        }
        Ok(costs)
    }

    /// Measures the rate of applying more records, and of catching up on their events.
    async fn more(&mut self) -> anyhow::Result<[Costs; 2]> {
        let (more, count) = (self.pace.more, self.instances.len());
        output::note(format_args!("growth on {}: {more} more records", self.engine));
        let rate = |of: String, unit| Subject { of, unit, is_rate: true, is_bounded: true };
        let mut applied = Costs::new(rate("ApplyChunk".to_owned(), "records/s"), count);
        let mut read = Costs::new(rate(format!("Catching up {more} events"), "events/s"), count);
        let mut cursors = Vec::with_capacity(count);
        for instance in &self.instances {
            instance.sequenced().await?;
            cursors.push(instance.subscriber().await?.now().await?.cursor);
        }
        // Equal numbers of records in each practice, and in each chunk of every instance.
        let practices = self.instances.iter().map(|instance| instance.size.practices).max();
        let rounds = usize::try_from(self.rounds)?;
        let chunk = (more / practices.unwrap_or(1) / rounds).clamp(1, CHUNK);
        for round in 0..rounds {
            for n in order(u32::try_from(round)?, count) {
                let instance = self.instances.get_mut(n).context("no instance")?;
                applied.add(
                    n,
                    apply_more(instance, round * more / rounds, more / rounds, chunk).await?,
                );
            }
        }
        for instance in &self.instances {
            instance.sequenced().await?;
        }
        let events = more / rounds * rounds;
        for round in 0..self.rounds {
            for n in order(round, count) {
                let (instance, cursor) =
                    self.instances.get(n).zip(cursors.get(n)).context("no instance")?;
                read.add(n, feed::catch_up(instance, cursor, events).await?);
            }
        }
        Ok([applied, read])
    }

    /// Measures memory and disk space.
    async fn space(&self) -> anyhow::Result<[Costs; 2]> {
        let amount =
            |of: &str, unit| Subject { of: of.to_owned(), unit, is_rate: false, is_bounded: false };
        let mut memory =
            Costs::new(amount("Memory of the service, at the end", "MB"), self.instances.len());
        let mut disk = Costs::new(amount("Disk, per client", "kB"), self.instances.len());
        for (n, instance) in self.instances.iter().enumerate() {
            memory.add(n, ratio(instance.process.resident().await?, 1_000_000));
            let clients = u64::try_from(instance.size.total())?;
            disk.add(n, ratio(instance.disk, 1_000 * clients));
        }
        Ok([memory, disk])
    }

    async fn stop(self) -> anyhow::Result<()> {
        for instance in self.instances {
            instance.process.stop().await?;
        }
        Ok(())
    }
}

/// Applies `count` new records after `before` earlier ones. Returns the rate per second.
async fn apply_more(
    instance: &mut Instance,
    before: usize,
    count: usize,
    chunk: usize,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let practices = instance.size.practices;
    for (n, first) in (before..before + count).step_by(chunk).enumerate() {
        let length = chunk.min(before + count - first);
        // Numbers that are not used in the practice.
        let number = instance.size.clients + first;
        instance.apply(n % practices, number..number + length).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "records of seconds")]
    let count = count as f64;
    Ok(count / started.elapsed().as_secs_f64())
}

impl Turn<'_> {
    fn subject(&self) -> Subject {
        match self {
            Self::Call(call) => {
                Subject { is_bounded: call.is_bounded(), ..latency(call.name().to_owned()) }
            }
            Self::Echo(_) => latency("Yardstick: a bare tonic echo".to_owned()),
            Self::Flush(_) => latency("Yardstick: 8 kB to the disk".to_owned()),
        }
    }

    /// Makes sequential calls for `time`.
    async fn run(&self, instance: &mut Instance, time: Duration) -> anyhow::Result<Histogram<u64>> {
        let mut latency = new_histogram()?;
        let started = Instant::now();
        while started.elapsed() < time {
            let Some(took) = self.once(instance).await? else { break };
            // A call that takes longer than a turn counts too.
            if started.elapsed() > time / WARM_UP {
                latency.saturating_record(micros(took));
            }
        }
        ensure!(!latency.is_empty(), "too few clients for a turn: use larger sizes");
        Ok(latency)
    }

    async fn once(&self, instance: &mut Instance) -> anyhow::Result<Option<Duration>> {
        match self {
            Self::Call(call) => call.make(instance).await,
            Self::Echo(clients) => {
                let mut clients = (*clients).clone();
                let call = clients.get_client(GetClientRequest::default());
                Ok(Some(calls::timed(call).await?.1))
            }
            Self::Flush(flush) => flush.once().await.map(Some),
        }
    }
}

/// The order of the instances in a round. It alternates, so that no instance always runs after
/// the same other one.
fn order(round: u32, instances: usize) -> Vec<usize> {
    let order = 0..instances;
    if round.is_multiple_of(2) { order.collect() } else { order.rev().collect() }
}

fn latency(of: String) -> Subject {
    Subject { of, unit: "ms", is_rate: false, is_bounded: false }
}

fn bounded(subject: Subject) -> Subject {
    Subject { is_bounded: true, ..subject }
}

fn ratio(amount: u64, part: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "three digits are reported")]
    let (amount, part) = (amount as f64, part as f64);
    amount / part
}
