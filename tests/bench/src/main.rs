//! `concord-bench`: how fast Concord is, beside what it could be.
//!
//! Each row of the table is a figure of the service and a *yardstick*: the least
//! work that could give the same answer, on the same machine, measured in the
//! same run, turn by turn. What counts is the ratio of the two; the figures
//! alone say more about the machine.
//!
//! - What is measured: [`rows`], one module each; [`sample`] is the client that
//!   they create and read; [`chunks`] applies many at once; [`feed`] hears them.
//! - What it is measured against: [`yardsticks`]; [`statements`] records what a
//!   call does in the database, for a yardstick to do the same.
//! - How: [`load`] keeps calls in flight, [`measure`] alternates, [`report`]
//!   tells.
//!   [`turns`] does so where a turn is as long as its work.
//! - [`transfer`] brings a practice over, as a product does.
//! - On what: [`service`], in this process; [`process`], in one of its own, whose
//!   memory can be measured; [`databases`], [`postgres`].
//!
//! It never fails for a figure: a target that is missed is told, and no more.

mod chunks;
mod cli;
mod databases;
mod feed;
mod load;
mod measure;
mod output;
mod postgres;
mod process;
mod report;
mod rows;
mod sample;
mod service;
mod statements;
mod transfer;
mod turns;
mod yardsticks;

use std::process::ExitCode;

use anyhow::bail;
use clap::Parser as _;
use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};

use cli::Cli;
use databases::Databases;

/// Both services allocate much and little: with it they take a fifth less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = tokio::select! {
        ended = run(&cli) => ended,
        interrupted = interrupted() => interrupted,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("concord-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    if let Some(what) = &cli.serve {
        return process::serve(what).await;
    }
    let (plan, rows) = (cli.plan(), cli.rows());
    let databases = Databases::start(&cli.engines()).await?;
    let mut lines = Vec::new();
    for row in rows {
        for engine in cli.engines() {
            lines.extend(row.measure(&plan, &databases, engine).await?);
        }
    }
    output::line(if cli.json { report::json(&plan, &lines)? } else { report::table(&lines) })?;
    Ok(())
}

/// Waits for the wish to end: heard, so that the throw-away server goes with us.
async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        heard = ctrl_c() => heard?,
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}
