//! The measurements: one module for each row of the report.

mod catch_up;
mod create_client;
mod delivery;
mod get_client;
mod growth;
mod import;
mod import_memory;
mod latency;
mod retention;
mod retry;
mod stage;
mod streams;

use clap::ValueEnum;

pub(crate) use self::growth::DatasetSize;

use crate::{
    databases::{Databases, Engine},
    measure::Plan,
    report::{Figure, Measurement},
};

/// A row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// `GetClient` by id, against a bare server that responds from memory
    GetClient,
    /// `CreateClient`, against its statements alone
    CreateClient,
    /// Event delivery: from the commit of a change to its subscriber, also during an
    /// import of another practice
    Delivery,
    /// An import, from the seal to the end, against its rows alone
    Import,
    /// The retry of failed records, against the round in which they failed
    Retry,
    /// The upload of batches, against their rows alone
    Stage,
    /// The memory of an import
    ImportMemory,
    /// The growth of costs with the number of clients and practices
    Growth,
    /// One stream from the earliest position, against a bare server that streams from
    /// memory
    CatchUp,
    /// The memory of many open streams
    Streams,
    /// `GetClient` and `CreateClient` at a fixed rate
    Latency,
    /// How long the purge of a feed blocks the writer
    Retention,
}

impl Row {
    /// Measures the row on one engine.
    pub(crate) async fn measure(
        self,
        plan: &Plan,
        databases: &Databases,
        engine: Engine,
    ) -> anyhow::Result<Vec<Measurement>> {
        let ratios = match self {
            Self::GetClient => get_client::measure(plan, databases, engine).await?,
            Self::CreateClient => create_client::measure(plan, databases, engine).await?,
            Self::Growth => {
                let growths = growth::measure(plan, databases, engine).await?;
                return Ok(growths.into_iter().map(Measurement::Growth).collect());
            }
            Self::Delivery => {
                let times = delivery::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Measurement::Time).collect());
            }
            Self::Import => return Ok(figures(import::measure(plan, databases, engine).await?)),
            Self::Retry => return Ok(figures(retry::measure(plan, databases, engine).await?)),
            Self::Stage => return Ok(figures(stage::measure(plan, databases, engine).await?)),
            Self::ImportMemory => {
                return Ok(figures(import_memory::measure(plan, databases, engine).await?));
            }
            Self::CatchUp => return Ok(figures(catch_up::measure(plan, databases, engine).await?)),
            Self::Streams => return Ok(figures(streams::measure(plan, databases, engine).await?)),
            Self::Latency => {
                let times = latency::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Measurement::Time).collect());
            }
            Self::Retention => {
                let times = retention::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Measurement::Time).collect());
            }
        };
        Ok(ratios.into_iter().map(Measurement::Ratio).collect())
    }
}

fn figures(figures: Vec<Figure>) -> Vec<Measurement> {
    figures.into_iter().map(Measurement::Figure).collect()
}
