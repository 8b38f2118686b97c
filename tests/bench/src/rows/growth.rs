//! Whether costs grow with what is there: the same calls, beside each other, in
//! practices of different sizes; and in one practice and many of the same size all
//! together.
//!
//! Each size has a service and a database of its own, which take turns within
//! each round. So a slower moment of the machine falls on all of them, and the
//! yardsticks, which know nothing of sizes, say whether it did.

mod calls;
mod costs;
mod extent;
mod feed;
mod names;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use shared::pb::records::GetClientRequest;

pub(crate) use self::extent::Extent;
use self::{
    calls::Call,
    costs::{Costs, Subject},
    world::World,
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

/// What a cost may be at the largest size, in parts of that at the smallest.
const TARGET: f64 = 1.3;

/// A turn of a call counts after this part of it.
const WARM_UP: u32 = 10;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Growth>> {
    let mut growths = Vec::new();
    for (n, extents) in plan.sizes.iter().enumerate() {
        let mut worlds = Vec::with_capacity(extents.len());
        for (m, extent) in extents.iter().enumerate() {
            let name = format!("growth_{n}_{m}");
            worlds.push(World::start(databases, engine, &name, *extent).await?);
        }
        databases.settle(engine).await?;
        let mut comparison = Comparison::new(plan, databases, engine, worlds).await?;
        let costs = comparison.measure().await?;
        growths.extend(costs.into_iter().map(|costs| costs.growth(engine, extents)));
        comparison.stop().await?;
    }
    Ok(growths)
}

/// How much is done in each round.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How long one kind of call goes on in one world.
    turn: Duration,
    /// How long events are timed.
    hearing: Duration,
    /// Records that are brought over into what is there, by all rounds.
    more: usize,
}

impl Pace {
    fn of(plan: &Plan) -> Self {
        if plan.quick {
            Self { turn: plan.turn / 25, hearing: plan.turn / 4, more: 2_000 }
        } else {
            Self { turn: plan.turn / 4, hearing: plan.turn, more: 20_000 }
        }
    }
}

/// What a turn is about.
enum Turn<'a> {
    Call(Call),
    Echo(&'a Clients),
    Flush(&'a Flush),
}

/// Worlds, and what else is measured beside them.
struct Comparison {
    engine: Engine,
    rounds: u32,
    pace: Pace,
    worlds: Vec<World>,
    echo: Bare,
    flush: Flush,
}

impl Comparison {
    async fn new(
        plan: &Plan,
        databases: &Databases,
        engine: Engine,
        mut worlds: Vec<World>,
    ) -> anyhow::Result<Self> {
        let first = worlds.first_mut().context("no size to measure")?;
        let echo = echo::start(calls::get(first).await?.0).await?;
        let flush = Flush::open(databases.folder()).await?;
        Ok(Self { engine, rounds: plan.rounds, pace: Pace::of(plan), worlds, echo, flush })
    }

    async fn measure(&mut self) -> anyhow::Result<Vec<Costs>> {
        let mut costs = self.calls().await?;
        costs.push(self.events().await?);
        costs.extend(self.more().await?);
        costs.extend(self.space().await?);
        Ok(costs)
    }

    /// The latencies of calls, and of the yardsticks between them.
    async fn calls(&mut self) -> anyhow::Result<Vec<Costs>> {
        let echo = service::clients(self.echo.url()).await?.pop().context("no connection")?;
        let extents: Vec<Extent> = self.worlds.iter().map(|world| world.extent).collect();
        let mut turns: Vec<Turn<'_>> =
            Call::comparable(&extents).iter().copied().map(Turn::Call).collect();
        turns.extend([Turn::Echo(&echo), Turn::Flush(&self.flush)]);
        let mut costs: Vec<Costs> =
            turns.iter().map(|turn| Costs::new(turn.subject(), self.worlds.len())).collect();
        for round in 0..self.rounds {
            output::note(format_args!(
                "growth on {}: round {} of {}",
                self.engine,
                round + 1,
                self.rounds
            ));
            for (turn, costs) in turns.iter().zip(&mut costs) {
                for n in order(round, self.worlds.len()) {
                    let world = self.worlds.get_mut(n).context("no world")?;
                    costs.add_latency(n, &turn.take(world, self.pace.turn).await?)?;
                }
            }
        }
        Ok(costs)
    }

    /// How long events take while changes go on.
    async fn events(&mut self) -> anyhow::Result<Costs> {
        let of = format!("An event, at {} changes/s", feed::STEADY);
        let mut costs = Costs::new(bounded(latency(of)), self.worlds.len());
        for round in 0..self.rounds {
            for n in order(round, self.worlds.len()) {
                let world = self.worlds.get_mut(n).context("no world")?;
                costs.add_latency(n, &feed::hear(world, self.pace.hearing).await?)?;
            }
        }
        Ok(costs)
    }

    /// How fast more records are brought over, and their events caught up with.
    async fn more(&mut self) -> anyhow::Result<[Costs; 2]> {
        let (more, count) = (self.pace.more, self.worlds.len());
        output::note(format_args!("growth on {}: {more} records more", self.engine));
        let rate = |of: String, unit| Subject { of, unit, is_rate: true, is_bounded: true };
        let mut applied = Costs::new(rate("ApplyChunk".to_owned(), "records/s"), count);
        let mut read = Costs::new(rate(format!("Catching up {more} events"), "events/s"), count);
        let mut cursors = Vec::with_capacity(count);
        for world in &self.worlds {
            world.sequenced().await?;
            cursors.push(world.subscriber().await?.now().await?.cursor);
        }
        // As many records in each practice, and in each chunk of every world.
        let practices = self.worlds.iter().map(|world| world.extent.practices).max();
        let rounds = usize::try_from(self.rounds)?;
        let chunk = (more / practices.unwrap_or(1) / rounds).clamp(1, CHUNK);
        for round in 0..rounds {
            for n in order(u32::try_from(round)?, count) {
                let world = self.worlds.get_mut(n).context("no world")?;
                applied
                    .add(n, bring_over(world, round * more / rounds, more / rounds, chunk).await?);
            }
        }
        for world in &self.worlds {
            world.sequenced().await?;
        }
        let events = more / rounds * rounds;
        for round in 0..self.rounds {
            for n in order(round, count) {
                let (world, cursor) = self.worlds.get(n).zip(cursors.get(n)).context("no world")?;
                read.add(n, feed::catch_up(world, cursor, events).await?);
            }
        }
        Ok([applied, read])
    }

    /// What it takes of the memory and of the disk.
    async fn space(&self) -> anyhow::Result<[Costs; 2]> {
        let amount =
            |of: &str, unit| Subject { of: of.to_owned(), unit, is_rate: false, is_bounded: false };
        let mut memory =
            Costs::new(amount("Memory of the service, after all that", "MB"), self.worlds.len());
        let mut disk = Costs::new(amount("Disk, of a client", "kB"), self.worlds.len());
        for (n, world) in self.worlds.iter().enumerate() {
            memory.add(n, in_parts(world.process.resident().await?, 1_000_000));
            let clients = u64::try_from(world.extent.total())?;
            disk.add(n, in_parts(world.disk, 1_000 * clients));
        }
        Ok([memory, disk])
    }

    async fn stop(self) -> anyhow::Result<()> {
        for world in self.worlds {
            world.process.stop().await?;
        }
        Ok(())
    }
}

/// Brings `count` new records over, of which `before` have been already; tells how
/// many a second.
async fn bring_over(
    world: &mut World,
    before: usize,
    count: usize,
    chunk: usize,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let practices = world.extent.practices;
    for (n, first) in (before..before + count).step_by(chunk).enumerate() {
        let length = chunk.min(before + count - first);
        // Numbers that no client of the practice has.
        let number = world.extent.clients + first;
        world.apply(n % practices, number..number + length).await?;
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

    /// Goes on for `time`, one call at a time.
    async fn take(&self, world: &mut World, time: Duration) -> anyhow::Result<Histogram<u64>> {
        let mut latency = new_histogram()?;
        let started = Instant::now();
        while started.elapsed() < time {
            let Some(took) = self.once(world).await? else { break };
            // One that takes longer than a turn counts too.
            if started.elapsed() > time / WARM_UP {
                latency.saturating_record(micros(took));
            }
        }
        ensure!(!latency.is_empty(), "too few clients for a turn: measure larger sizes");
        Ok(latency)
    }

    async fn once(&self, world: &mut World) -> anyhow::Result<Option<Duration>> {
        match self {
            Self::Call(call) => call.make(world).await,
            Self::Echo(clients) => {
                let mut clients = (*clients).clone();
                let call = clients.get_client(GetClientRequest::default());
                Ok(Some(calls::timed(call).await?.1))
            }
            Self::Flush(flush) => flush.once().await.map(Some),
        }
    }
}

/// The worlds in turn; every other round backwards, so that none always has the
/// aftermath of the same.
fn order(round: u32, worlds: usize) -> Vec<usize> {
    let order = 0..worlds;
    if round.is_multiple_of(2) { order.collect() } else { order.rev().collect() }
}

fn latency(of: String) -> Subject {
    Subject { of, unit: "ms", is_rate: false, is_bounded: false }
}

fn bounded(subject: Subject) -> Subject {
    Subject { is_bounded: true, ..subject }
}

fn in_parts(amount: u64, part: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "three digits are read")]
    let (amount, part) = (amount as f64, part as f64);
    amount / part
}
