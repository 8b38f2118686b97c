//! What is measured, one module for each row of the table.

mod create_client;
mod get_client;

use clap::ValueEnum;

use crate::{
    databases::{Databases, Engine},
    measure::Plan,
    report::Line,
};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// Reading a client by its id, beside a bare server that answers from memory
    GetClient,
    /// Creating a client, beside its statements alone
    CreateClient,
}

impl Row {
    /// Measures it on one engine.
    pub(crate) async fn measure(
        self,
        plan: &Plan,
        databases: &Databases,
        engine: Engine,
    ) -> anyhow::Result<Vec<Line>> {
        match self {
            Self::GetClient => get_client::measure(plan, databases, engine).await,
            Self::CreateClient => create_client::measure(plan, databases, engine).await,
        }
    }
}
