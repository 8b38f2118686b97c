//! Alternating turns of fixed work: of a quantity and its yardstick.

use std::{fmt, time::Duration};

use crate::{
    measure::Spread,
    output,
    report::{Figure, YardstickResult},
};

/// The results of the turns, in amounts per second.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    figures: Vec<f64>,
    yardsticks: Vec<f64>,
}

impl Turns {
    /// Runs `figure` and `yardstick` in alternating turns of the same `amount`. The argument
    /// is the round; the result is the duration. `first` is the first turn of the figure,
    /// which ran before because it creates the data of the yardstick.
    pub(crate) async fn run(
        what: impl fmt::Display,
        rounds: u32,
        amount: f64,
        first: Duration,
        mut figure: impl AsyncFnMut(u32) -> anyhow::Result<Duration>,
        mut yardstick: impl AsyncFnMut(u32) -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Self> {
        let mut turns = Self::default();
        for round in 1..=rounds {
            // The order alternates, so that neither side always runs after the other.
            let (measured, baseline) = if round == 1 {
                (first, yardstick(round).await?)
            } else if round.is_multiple_of(2) {
                let baseline = yardstick(round).await?;
                (figure(round).await?, baseline)
            } else {
                (figure(round).await?, yardstick(round).await?)
            };
            let measured = amount / measured.as_secs_f64();
            let baseline = amount / baseline.as_secs_f64();
            let ratio = measured / baseline;
            output::note(format_args!(
                "{what}: round {round} of {rounds}: {measured:.0}/s, yardstick {baseline:.0}/s, ratio \
                 {ratio:.2}"
            ));
            turns.figures.push(measured);
            turns.yardsticks.push(baseline);
        }
        Ok(turns)
    }

    /// Adds the results to a line of the report.
    pub(crate) fn into_figure(self, yardstick: &'static str, line: Figure) -> Figure {
        let pairs = self.figures.iter().zip(&self.yardsticks);
        let ratio = Spread::of(pairs.map(|(figure, baseline)| figure / baseline).collect());
        let result =
            YardstickResult { name: yardstick, figure: Spread::of(self.yardsticks), ratio };
        Figure { figure: Spread::of(self.figures), yardstick: Some(result), ..line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_alternate_after_the_first_of_the_figure() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |name: char, seconds| {
            order.borrow_mut().push(name);
            Ok(Duration::from_secs(seconds))
        };
        let first = Duration::from_secs(10);
        let turns =
            Turns::run("", 3, 40.0, first, async |_| turn('f', 20), async |_| turn('y', 5)).await;
        let turns = turns.unwrap();
        assert_eq!(order.into_inner(), "yyffy");
        assert_eq!((turns.figures, turns.yardsticks), (vec![4.0, 2.0, 2.0], vec![8.0; 3]));
    }
}
