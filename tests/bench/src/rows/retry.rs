//! A retry of failed records, compared with the round in which they failed: the cost
//! per record must not grow with the number of records.

use std::time::Duration;

use crate::{
    databases::{Databases, Engine},
    measure::{Plan, Spread},
    output,
    report::{Figure, Target},
    transfer::{Batch, Followed, Pair, Practice},
    turns::Turns,
};

/// Target ratio to the rate of the first round.
const RATIO: f64 = 0.3;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let max_records = if plan.quick { 4_000 } else { 80_000 };
    let mut lines = Vec::new();
    for records in [max_records / 4, max_records] {
        let bench = Bench { databases, engine, practice: Practice::new(records).failing() };
        lines.push(bench.line(plan).await?);
    }
    Ok(lines)
}

struct Bench<'a> {
    databases: &'a Databases,
    engine: Engine,
    practice: Practice,
}

impl Bench<'_> {
    async fn line(&self, plan: &Plan) -> anyhow::Result<Figure> {
        let line = Figure {
            row: "retry",
            database: self.engine,
            of: format!("{} records that fail again", self.practice.len()),
            unit: "records/s",
            figure: Spread::default(),
            yardstick: None,
            targets: vec![Target::Ratio(RATIO)],
        };
        let what = format!("retry on {}", self.engine);
        let mut rounds = Vec::new();
        for round in 1..=plan.rounds {
            rounds.push(self.turn(round).await?);
        }
        let took = |round: u32, which: fn(&(Duration, Duration)) -> Duration| {
            let at = usize::try_from(round)?.saturating_sub(1);
            Ok(rounds.get(at).map(which).unwrap_or_default())
        };
        let first = took(1, |(_, retry)| *retry)?;
        let retry = async |round| took(round, |(_, retry)| *retry);
        let import = async |round| took(round, |(import, _)| *import);
        let turns = Turns::run(what, plan.rounds, self.records(), first, retry, import).await?;
        Ok(turns.into_figure("the first round", line))
    }

    /// Imports the practice into empty databases, and retries all of it. Returns both
    /// durations.
    async fn turn(&self, round: u32) -> anyhow::Result<(Duration, Duration)> {
        let name = format!("retry_{}_{round}", self.practice.len());
        let pair = Pair::start(self.databases, self.engine, &name).await?;
        let import_id = pair.create().await?;
        let uploaded = pair.upload(&import_id, Batch::all(self.practice)).await?;
        self.databases.checkpoint(self.engine).await?;
        let first = pair.fail(&import_id, uploaded).await?;
        self.note("first round", &first);
        let second = pair.retry(&import_id, uploaded).await?;
        self.note("retry", &second);
        pair.remove(self.databases).await?;
        Ok((first.took, second.took))
    }

    fn note(&self, what: &str, followed: &Followed) {
        output::note(format_args!(
            "retry on {}: {what} of {} records in {followed}",
            self.engine,
            self.practice.len()
        ));
    }

    #[expect(clippy::cast_precision_loss, reason = "records of one practice")]
    const fn records(&self) -> f64 {
        self.practice.len() as f64
    }
}
