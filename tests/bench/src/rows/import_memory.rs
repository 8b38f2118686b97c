//! The memory of each service in a large import: the peak, and the growth during the import.

use crate::{
    databases::{Databases, Engine},
    measure::{MEGABYTE, Plan, Spread},
    output,
    process::Process,
    report::{Figure, Target},
    transfer::{Batch, Followed, Pair, Practice},
};

/// Maximum memory of a service, in megabytes.
const MAX_MEMORY: f64 = 300.0;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let practice = Practice::new(if plan.quick { 50_000 } else { 1_000_000 });
    let pair = Pair::start(databases, engine, "import_memory").await?;
    let import_id = pair.create().await?;
    let uploaded = pair.upload(&import_id, Batch::all(practice)).await?;
    let mut early = None;
    let followed = pair
        .complete(&import_id, uploaded, async |imported| {
            if early.is_none() && imported >= practice.len() / 10 {
                early = Some(resident(&pair).await?);
            }
            Ok(())
        })
        .await?;
    output::note(format_args!(
        "import-memory on {engine}: {} records in {followed}",
        practice.len()
    ));
    let (early, late) = (early.unwrap_or_default(), resident(&pair).await?);
    let services = [("imports", &pair.imports), ("records", &pair.records)];
    let bench = Bench { engine, practice };
    let mut lines = vec![bench.rate(&followed)];
    for (((name, service), early), late) in services.into_iter().zip(early).zip(late) {
        lines.push(bench.peak(name, service, early, late).await?);
    }
    pair.remove(databases).await?;
    Ok(lines)
}

/// The current memory of the imports and the records service, in megabytes.
async fn resident(pair: &Pair) -> anyhow::Result<[f64; 2]> {
    let (imports, records) = (pair.imports.resident().await?, pair.records.resident().await?);
    Ok([megabytes(imports), megabytes(records)])
}

#[expect(clippy::cast_precision_loss, reason = "memory of a process")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / MEGABYTE
}

struct Bench {
    engine: Engine,
    practice: Practice,
}

impl Bench {
    fn rate(&self, followed: &Followed) -> Figure {
        #[expect(clippy::cast_precision_loss, reason = "records of one practice")]
        let rate = self.practice.len() as f64 / followed.took.as_secs_f64();
        let of = format!("{} records, seal to COMPLETED", self.practice.len());
        self.line(of, "records/s", rate, Vec::new())
    }

    async fn peak(
        &self,
        name: &str,
        service: &Process,
        early: f64,
        late: f64,
    ) -> anyhow::Result<Figure> {
        let peak = megabytes(service.peak().await?);
        let of = format!(
            "{name}, peak; {early:.0} MB with 10 % imported, {late:.0} MB with all of {} records",
            self.practice.len()
        );
        Ok(self.line(of, "MB", peak, vec![Target::AtMost(MAX_MEMORY)]))
    }

    fn line(&self, of: String, unit: &'static str, figure: f64, targets: Vec<Target>) -> Figure {
        let figure = Spread::of(vec![figure]);
        let (row, database) = ("import-memory", self.engine);
        Figure { row, database, of, unit, figure, yardstick: None, targets }
    }
}
