//! The cost of an operation on each instance, for each round.

use hdrhistogram::Histogram;

use super::dataset_size::DatasetSize;
use crate::{
    databases::Engine,
    measure::{Spread, new_histogram},
    report::{Cost, Growth},
};

/// What is measured, and how it is reported.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) of: String,
    pub(super) unit: &'static str,
    /// True if larger is better, such as records per second.
    pub(super) is_rate: bool,
    /// True if the growth has a target.
    pub(super) is_bounded: bool,
}

/// The measurements of each instance, in the order of the sizes.
#[derive(Debug)]
pub(super) struct Costs {
    subject: Subject,
    instances: Vec<InstanceCosts>,
}

#[derive(Clone, Debug, Default)]
struct InstanceCosts {
    rounds: Vec<f64>,
    /// The latencies of all rounds, if measured.
    latency: Option<Histogram<u64>>,
}

impl Costs {
    pub(super) fn new(subject: Subject, instances: usize) -> Self {
        Self { subject, instances: vec![InstanceCosts::default(); instances] }
    }

    /// Adds the result of a round on an instance.
    pub(super) fn add(&mut self, instance: usize, value: f64) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.rounds.push(value);
        }
    }

    /// Adds the latencies of a round on an instance, in microseconds.
    pub(super) fn add_latency(
        &mut self,
        instance: usize,
        latency: &Histogram<u64>,
    ) -> anyhow::Result<()> {
        self.add(instance, ms(latency, 0.5));
        if let Some(instance) = self.instances.get_mut(instance) {
            let all = instance.latency.take().map_or_else(new_histogram, Ok)?;
            instance.latency = Some(all + latency);
        }
        Ok(())
    }

    /// The growth from the first size to the last, within each round, so that other load on
    /// the machine affects both.
    pub(super) fn growth(self, database: Engine, sizes: &[DatasetSize]) -> Growth {
        let Self { subject: Subject { of, unit, is_rate, is_bounded }, instances } = self;
        let rounds = |instance: Option<&InstanceCosts>| {
            instance.map(|w| w.rounds.clone()).unwrap_or_default()
        };
        let (first, last) = (rounds(instances.first()), rounds(instances.last()));
        let growth = first.iter().zip(&last);
        let growth = growth.map(|(first, last)| if is_rate { first / last } else { last / first });
        let growth = Spread::of(growth.collect());
        let cost = |(size, instance): (&DatasetSize, InstanceCosts)| Cost {
            at: size.to_string(),
            figure: Spread::of(instance.rounds),
            p99: instance.latency.map(|latency| ms(&latency, 0.99)),
        };
        Growth {
            row: "growth",
            database,
            of,
            unit,
            costs: sizes.iter().zip(instances).map(cost).collect(),
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
        costs.growth(Engine::Sqlite, &[DatasetSize::of_one(10), DatasetSize::of_one(100)])
    }

    #[test]
    fn growth_is_computed_per_round() {
        assert_eq!(growth(false).factor, Spread { median: 2.0, min: 1.0, max: 2.0 });
        assert_eq!(growth(true).factor, Spread { median: 0.5, min: 0.5, max: 1.0 });
    }
}
