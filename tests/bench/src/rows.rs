//! What is measured, one module for each row of the table.

mod catch_up;
mod create_client;
mod get_client;
mod hear;
mod latency;
mod streams;

use clap::ValueEnum;

use crate::{
    databases::{Databases, Engine},
    measure::Plan,
    report::Finding,
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
    /// One stream that begins at the earliest position, beside a bare server that
    /// streams from memory
    CatchUp,
    /// The memory of many open streams
    Streams,
    /// Reading and creating at a fixed rate
    Latency,
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
            Self::Hear => {
                let times = hear::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Finding::Time).collect());
            }
            Self::CatchUp => {
                let figures = catch_up::measure(plan, databases, engine).await?;
                return Ok(figures.into_iter().map(Finding::Figure).collect());
            }
            Self::Streams => {
                let figures = streams::measure(plan, databases, engine).await?;
                return Ok(figures.into_iter().map(Finding::Figure).collect());
            }
            Self::Latency => {
                let times = latency::measure(plan, databases, engine).await?;
                return Ok(times.into_iter().map(Finding::Time).collect());
            }
        };
        Ok(ratios.into_iter().map(Finding::Ratio).collect())
    }
}
