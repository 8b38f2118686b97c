//! What is measured, one module for each row of the table.

mod catch_up;
mod create_client;
mod get_client;
mod growth;
mod hear;
mod import;
mod import_memory;
mod latency;
mod retention;
mod retry;
mod stage;
mod streams;

use clap::ValueEnum;

pub(crate) use self::growth::Extent;

use crate::{
    databases::{Databases, Engine},
    measure::Plan,
    report::{Figure, Finding},
};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// Reading a client by its id, beside a bare server that answers from memory
    GetClient,
    /// Creating a client, beside its statements alone
    CreateClient,
    /// From the commit of a change to its subscriber, also while another practice
    /// is brought over
    Hear,
    /// Importing a practice, from the seal to the end, beside its rows alone
    Import,
    /// Trying records again that failed, beside the round in which they did
    Retry,
    /// Uploading batches, beside their rows alone
    Stage,
    /// The memory that an import takes
    ImportMemory,
    /// Whether costs grow with the number of clients, and of practices
    Growth,
    /// One stream that begins at the earliest position, beside a bare server that
    /// streams from memory
    CatchUp,
    /// The memory of many open streams
    Streams,
    /// Reading and creating at a fixed rate
    Latency,
    /// How long the purge of a feed holds the writer
    Retention,
}

impl Row {
    /// Measures it on one engine.
    pub(crate) async fn measure(
        self,
        plan: &Plan,
        databases: &Databases,
        engine: Engine,
    ) -> anyhow::Result<Vec<Finding>> {
        let ratios = match self {
            Self::GetClient => get_client::measure(plan, databases, engine).await?,
            Self::CreateClient => create_client::measure(plan, databases, engine).await?,
            Self::Growth => {
                let growths = growth::measure(plan, databases, engine).await?;
                return Ok(growths.into_iter().map(Finding::Growth).collect());
            }
            Self::Hear => {
                let times = hear::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Finding::Time).collect());
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
                return Ok(times.into_iter().map(Finding::Time).collect());
            }
            Self::Retention => {
                let times = retention::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Finding::Time).collect());
            }
        };
        Ok(ratios.into_iter().map(Finding::Ratio).collect())
    }
}

fn figures(figures: Vec<Figure>) -> Vec<Finding> {
    figures.into_iter().map(Finding::Figure).collect()
}
