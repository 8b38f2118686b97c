//! What something costs in each world, round by round.

use hdrhistogram::Histogram;

use super::extent::Extent;
use crate::{
    databases::Engine,
    measure::{Spread, new_histogram},
    report::{Cost, Growth},
};

/// What is measured, and how to read it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) of: String,
    pub(super) unit: &'static str,
    /// Whether more of it costs less, as of records a second.
    pub(super) is_rate: bool,
    /// Whether its growth has a bound.
    pub(super) is_bounded: bool,
}

/// What was measured in each world, in the order of the extents.
#[derive(Debug)]
pub(super) struct Costs {
    subject: Subject,
    worlds: Vec<World>,
}

#[derive(Clone, Debug, Default)]
struct World {
    rounds: Vec<f64>,
    /// Of all rounds, where it is about latencies.
    latency: Option<Histogram<u64>>,
}

impl Costs {
    pub(super) fn new(subject: Subject, worlds: usize) -> Self {
        Self { subject, worlds: vec![World::default(); worlds] }
    }

    /// Adds what a round has shown in a world.
    pub(super) fn add(&mut self, world: usize, value: f64) {
        if let Some(world) = self.worlds.get_mut(world) {
            world.rounds.push(value);
        }
    }

    /// Adds the latencies of a round in a world, in microseconds.
    pub(super) fn add_latency(
        &mut self,
        world: usize,
        latency: &Histogram<u64>,
    ) -> anyhow::Result<()> {
        self.add(world, ms(latency, 0.5));
        if let Some(world) = self.worlds.get_mut(world) {
            let all = world.latency.take().map_or_else(new_histogram, Ok)?;
            world.latency = Some(all + latency);
        }
        Ok(())
    }

    /// How it grows from the first extent to the last: within each round, so that
    /// whatever else the machine did falls on both.
    pub(super) fn growth(self, database: Engine, extents: &[Extent]) -> Growth {
        let Self { subject: Subject { of, unit, is_rate, is_bounded }, worlds } = self;
        let rounds = |world: Option<&World>| world.map(|w| w.rounds.clone()).unwrap_or_default();
        let (first, last) = (rounds(worlds.first()), rounds(worlds.last()));
        let growth = first.iter().zip(&last);
        let growth = growth.map(|(first, last)| if is_rate { first / last } else { last / first });
        let growth = Spread::of(growth.collect());
        let cost = |(extent, world): (&Extent, World)| Cost {
            at: extent.to_string(),
            figure: Spread::of(world.rounds),
            p99: world.latency.map(|latency| ms(&latency, 0.99)),
        };
        Growth {
            row: "growth",
            database,
            of,
            unit,
            costs: extents.iter().zip(worlds).map(cost).collect(),
            factor: growth,
            target: is_bounded.then_some(super::TARGET),
        }
    }
}

fn ms(latency: &Histogram<u64>, quantile: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a minute")]
    let micros = latency.value_at_quantile(quantile) as f64;
    micros / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(is_rate: bool) -> Growth {
        let subject = Subject { of: String::new(), unit: "", is_rate, is_bounded: true };
        let mut costs = Costs::new(subject, 2);
        for (round, value) in [1.0, 2.0, 4.0].into_iter().enumerate() {
            costs.add(0, value);
            costs.add(1, if round == 2 { value } else { 2.0 * value });
        }
        costs.growth(Engine::Sqlite, &[Extent::of_one(10), Extent::of_one(100)])
    }

    #[test]
    fn growth_is_that_of_the_rounds() {
        assert_eq!(growth(false).factor, Spread { median: 2.0, min: 1.0, max: 2.0 });
        assert_eq!(growth(true).factor, Spread { median: 0.5, min: 0.5, max: 1.0 });
    }
}
