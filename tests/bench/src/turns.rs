//! Turns that are as long as their work: of a quantity, and of its yardstick.

use std::{fmt, time::Duration};

use crate::{
    measure::Spread,
    output,
    report::{Figure, Standard},
};

/// What the turns have shown, in amounts a second.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    figures: Vec<f64>,
    yardsticks: Vec<f64>,
}

impl Turns {
    /// Lets `figure` and `yardstick` take turns of the same `amount`; each is told the
    /// round, and says how long it took. `first` is the turn of the figure that was
    /// before all others, for it has made what the yardstick does.
    pub(crate) async fn take(
        what: impl fmt::Display,
        rounds: u32,
        amount: f64,
        first: Duration,
        mut figure: impl AsyncFnMut(u32) -> anyhow::Result<Duration>,
        mut yardstick: impl AsyncFnMut(u32) -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Self> {
        let mut turns = Self::default();
        for round in 1..=rounds {
            // The first turn changes sides: neither always has the other's aftermath.
            let (shown, standard) = if round == 1 {
                (first, yardstick(round).await?)
            } else if round.is_multiple_of(2) {
                let standard = yardstick(round).await?;
                (figure(round).await?, standard)
            } else {
                (figure(round).await?, yardstick(round).await?)
            };
            let (shown, standard) = (amount / shown.as_secs_f64(), amount / standard.as_secs_f64());
            let ratio = shown / standard;
            output::note(format_args!(
                "{what}: round {round} of {rounds}: {shown:.0}/s beside {standard:.0}/s, {ratio:.2}"
            ));
            turns.figures.push(shown);
            turns.yardsticks.push(standard);
        }
        Ok(turns)
    }

    /// Puts what they have shown into a line of the report.
    pub(crate) fn tell(self, yardstick: &'static str, line: Figure) -> Figure {
        let pairs = self.figures.iter().zip(&self.yardsticks);
        let ratio = Spread::of(pairs.map(|(figure, standard)| figure / standard).collect());
        let standard = Standard { name: yardstick, figure: Spread::of(self.yardsticks), ratio };
        Figure { figure: Spread::of(self.figures), yardstick: Some(standard), ..line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_turn_is_the_figures_and_then_they_change() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |name: char, seconds| {
            order.borrow_mut().push(name);
            Ok(Duration::from_secs(seconds))
        };
        let first = Duration::from_secs(10);
        let turns =
            Turns::take("", 3, 40.0, first, async |_| turn('f', 20), async |_| turn('y', 5)).await;
        let turns = turns.unwrap();
        assert_eq!(order.into_inner(), "yyffy");
        assert_eq!((turns.figures, turns.yardsticks), (vec![4.0, 2.0, 2.0], vec![8.0; 3]));
    }
}
