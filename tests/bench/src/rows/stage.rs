//! Staging: the upload of batches of maximum size until each has its receipt; compared with
//! the insertion of their rows into the same table, with as many commits.

use std::time::{Duration, Instant};

use crate::{
    databases::{Databases, Engine},
    measure::{MEGABYTE, Plan, Spread},
    report::{Figure, Target},
    transfer::{Batch, Pair, Practice},
    yardsticks::refill::Refill,
};

/// Target ratio to the rate of the row inserts. No target on SQLite.
const RATIO: f64 = 0.5;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let practice = Practice::new(if plan.quick { 200_000 } else { 400_000 }).full();
    // Created before the measurement: this is the work of the product.
    let batches: Vec<Batch> = Batch::all(practice).collect();
    let bench = Bench { databases, engine, batches };
    let (first, pair) = bench.upload(1).await?;
    let (records, imports) = (pair.records_database(), pair.imports_database());
    pair.stop().await?;
    databases.remove(engine, &records).await?;
    let rows = Refill::of_staged(databases, engine, &imports).await?;
    let figure = async |round| bench.turn(round).await;
    let line = rows.compare(bench.line(), plan.rounds, bench.megabytes(), first, figure).await?;
    Ok(vec![line])
}

struct Bench<'a> {
    databases: &'a Databases,
    engine: Engine,
    batches: Vec<Batch>,
}

impl Bench<'_> {
    async fn turn(&self, round: u32) -> anyhow::Result<Duration> {
        let (took, pair) = self.upload(round).await?;
        pair.remove(self.databases).await?;
        Ok(took)
    }

    /// Uploads the batches into empty databases. Returns the duration.
    async fn upload(&self, round: u32) -> anyhow::Result<(Duration, Pair)> {
        let pair = Pair::start(self.databases, self.engine, &format!("stage_{round}")).await?;
        let import_id = pair.create().await?;
        self.databases.checkpoint(self.engine).await?;
        let begun = Instant::now();
        pair.upload(&import_id, self.batches.iter().cloned()).await?;
        Ok((begun.elapsed(), pair))
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a few batches")]
    fn megabytes(&self) -> f64 {
        self.batches.iter().map(Batch::size).sum::<usize>() as f64 / MEGABYTE
    }

    fn line(&self) -> Figure {
        let records: usize = self.batches.iter().map(Batch::len).sum();
        Figure {
            row: "stage",
            database: self.engine,
            of: format!(
                "{} batches, {records} records, {:.0} MB",
                self.batches.len(),
                self.megabytes()
            ),
            unit: "MB/s",
            figure: Spread::default(),
            yardstick: None,
            targets: match self.engine {
                Engine::Sqlite => Vec::new(),
                Engine::Postgres => vec![Target::Ratio(RATIO)],
            },
        }
    }
}
