//! Alternating measurement of a figure and its yardstick, so that other load on the machine
//! affects both.

use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

use crate::{output, rows::DatasetSize};

/// The amount of measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// A quick run, which shows that everything works, and large differences.
    pub(crate) quick: bool,
    /// Number of turns of each side.
    pub(crate) rounds: u32,
    /// Duration of a turn.
    pub(crate) turn: Duration,
    /// Duration of the warm-up before the first turn.
    pub(crate) warm_up: Duration,
    /// Number of clients of a practice at the start.
    pub(crate) clients: usize,
    /// Number of records imported concurrently with a measurement.
    pub(crate) imported: usize,
    /// Lists of sizes to compare, each in ascending order.
    pub(crate) sizes: Vec<Vec<DatasetSize>>,
}

/// Bytes of a megabyte.
pub(crate) const MEGABYTE: f64 = 1_000_000.0;

/// A histogram of latencies in microseconds, up to a minute, with three digits.
pub(crate) fn new_histogram() -> Result<Histogram<u64>, CreationError> {
    Histogram::new_with_max(60_000_000, 3)
}

/// Converts microseconds to milliseconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a minute")]
pub(crate) fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// The result of one turn.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    latency: Histogram<u64>,
}

impl Sample {
    /// The result of calls with these latencies, made within `elapsed`.
    pub(crate) fn new(latency: Histogram<u64>, elapsed: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "calls of seconds")]
        let calls = latency.len() as f64;
        Self { per_second: calls / elapsed.as_secs_f64(), latency }
    }
}

/// The median, minimum and maximum of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of values in any order; all zeros without values.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(values.len() / 2));
        Self { median, min: at(0), max: at(last) }
    }
}

/// The results of all turns of one side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) per_second: Spread,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Series {
    fn of(samples: &[Sample]) -> anyhow::Result<Self> {
        let mut latency = new_histogram()?;
        for sample in samples {
            latency.add(&sample.latency)?;
        }
        let rates = samples.iter().map(|sample| sample.per_second).collect();
        let at = |quantile| milliseconds(latency.value_at_quantile(quantile));
        Ok(Self { per_second: Spread::of(rates), p50_ms: at(0.5), p99_ms: at(0.99) })
    }
}

/// A figure compared with its yardstick.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) figure: Series,
    pub(crate) yardstick: Series,
    /// The ratio of the turns of each round.
    pub(crate) ratio: Spread,
}

/// Runs `figure` and `yardstick` in alternating turns. The argument is the duration.
pub(crate) async fn alternate(
    plan: &Plan,
    what: &str,
    mut figure: impl AsyncFnMut(Duration) -> anyhow::Result<Sample>,
    mut yardstick: impl AsyncFnMut(Duration) -> anyhow::Result<Sample>,
) -> anyhow::Result<Compared> {
    figure(plan.warm_up).await?;
    yardstick(plan.warm_up).await?;
    let (mut figures, mut yardsticks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        // The order alternates, so that neither side always runs after the other.
        let (measured, baseline) = if round % 2 == 1 {
            let measured = figure(plan.turn).await?;
            (measured, yardstick(plan.turn).await?)
        } else {
            let baseline = yardstick(plan.turn).await?;
            (figure(plan.turn).await?, baseline)
        };
        let ratio = measured.per_second / baseline.per_second;
        output::note(format_args!(
            "{what}: round {round} of {}: {:.0}/s, yardstick {:.0}/s, ratio {ratio:.2}",
            plan.rounds, measured.per_second, baseline.per_second
        ));
        ratios.push(ratio);
        figures.push(measured);
        yardsticks.push(baseline);
    }
    Ok(Compared {
        figure: Series::of(&figures)?,
        yardstick: Series::of(&yardsticks)?,
        ratio: Spread::of(ratios),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_has_median_min_and_max() {
        let spread = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(spread(&[7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
        assert_eq!(spread(&[]), Spread::default());
    }

    #[tokio::test]
    async fn turns_alternate_and_change_their_order() {
        let turns = std::cell::RefCell::new(String::new());
        let take = |name: char| {
            turns.borrow_mut().push(name);
            Ok(Sample { per_second: 1.0, latency: new_histogram()? })
        };
        let plan = Plan { rounds: 3, ..Plan::default() };
        let compared = alternate(&plan, "", async |_| take('f'), async |_| take('y')).await;
        assert_eq!(turns.into_inner(), "fyfyyffy");
        assert_eq!(compared.unwrap().ratio, Spread { median: 1.0, min: 1.0, max: 1.0 });
    }
}
