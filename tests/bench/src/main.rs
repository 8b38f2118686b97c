//! `concord-bench`: benchmarks of Concord against yardsticks.
//!
//! A row of the report compares a figure of the service with a *yardstick*: the least work
//! that could give the same response, on the same machine, measured in the same run, in
//! alternating turns. The ratio of the two is the result; the absolute figures depend on the
//! machine.
//!
//! - Measurements: [`rows`], one module each. [`sample`] is the client that they create and
//!   read; [`chunks`] creates many clients; [`feed`] subscribes to their changes.
//! - Yardsticks: [`yardsticks`]. [`statements`] records the SQL statements of a call, which
//!   a yardstick then executes.
//! - Method: [`load`] generates calls, [`measure`] alternates turns of fixed length,
//!   [`turns`] alternates turns of fixed work, [`report`] writes the results.
//! - [`transfer`] imports a practice, as a product does.
//! - Environment: [`service`] runs a service in this process, [`process`] in a separate
//!   process with measurable memory; [`databases`], [`postgres`].
//!
//! A missed target is reported. It is not a failure of the program.

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

/// The services make many small allocations; this allocator saves a fifth of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = tokio::select! {
        ended = run(&cli) => ended,
        interrupt = interrupt() => interrupt,
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

/// Waits for SIGINT or SIGTERM, so that the temporary PostgreSQL server is stopped on exit.
async fn interrupt() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        received = ctrl_c() => received?,
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}
