//! An import, from the seal to COMPLETED, with three connected products; compared with the
//! insertion of its final rows into the same tables with the same indexes.

use std::time::Duration;

use crate::{
    databases::{Databases, Engine},
    measure::{Plan, Spread},
    output,
    report::{Figure, Target},
    transfer::{Batch, Pair, Practice},
    yardsticks::refill::{Refill, Tables},
};

/// Target rate, in records per second: 100,000 in ten seconds.
const RATE: f64 = 10_000.0;

/// Target ratio to the rate of the row inserts. No target on SQLite.
const RATIO: f64 = 0.3;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let practice = Practice::new(if plan.quick { 10_000 } else { 100_000 });
    let bench = Bench { databases, engine, practice };
    let (first, pair) = bench.import(1).await?;
    let (records, imports) = (pair.records_database(), pair.imports_database());
    pair.stop().await?;
    databases.remove(engine, &imports).await?;
    let rows = Refill::of_all(databases, engine, Tables::Records, &records).await?;
    let figure = async |round| bench.turn(round).await;
    let line = rows.compare(bench.line(), plan.rounds, bench.records(), first, figure).await?;
    Ok(vec![line])
}

struct Bench<'a> {
    databases: &'a Databases,
    engine: Engine,
    practice: Practice,
}

impl Bench<'_> {
    async fn turn(&self, round: u32) -> anyhow::Result<Duration> {
        let (took, pair) = self.import(round).await?;
        pair.remove(self.databases).await?;
        Ok(took)
    }

    /// Imports the practice into empty databases. Returns the duration from the seal to the
    /// end, after all changes are sequenced.
    async fn import(&self, round: u32) -> anyhow::Result<(Duration, Pair)> {
        let pair = Pair::start(self.databases, self.engine, &format!("import_{round}")).await?;
        let import_id = pair.create().await?;
        let uploaded = pair.upload(&import_id, Batch::all(self.practice)).await?;
        self.databases.checkpoint(self.engine).await?;
        let followed = pair.complete(&import_id, uploaded, async |_| Ok(())).await?;
        let sequencing = pair.sequenced(self.databases).await?;
        output::note(format_args!(
            "import on {}: {} records in {followed}; sequenced {:.2} s later",
            self.engine,
            self.practice.len(),
            sequencing.as_secs_f64()
        ));
        Ok((followed.took, pair))
    }

    #[expect(clippy::cast_precision_loss, reason = "records of one practice")]
    const fn records(&self) -> f64 {
        self.practice.len() as f64
    }

    fn line(&self) -> Figure {
        let rate = Target::AtLeast(RATE);
        Figure {
            row: "import",
            database: self.engine,
            of: format!("{} records, seal to COMPLETED", self.practice.len()),
            unit: "records/s",
            figure: Spread::default(),
            yardstick: None,
            targets: match self.engine {
                Engine::Sqlite => vec![rate],
                Engine::Postgres => vec![Target::Ratio(RATIO), rate],
            },
        }
    }
}
