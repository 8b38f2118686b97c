//! `concord`: one client record for every product of an accountancy practice.
//!
//! The program runs both services and is a command line client for them. The client
//! connects products, imports CSV files, subscribes to change events, lists the lag of
//! subscriptions, traces the delivery of a change, and finds and shows records.
//!
//! - [`cli`]: the command line. [`commands`]: one module for each subcommand.
//! - [`client`]: calls to the services, and the change feed.
//! - [`importer`]: reading, packing, uploading and correcting CSV files.
//! - [`render`]: output as text and as JSON.
//! - [`host`]: the services in this process.
//!
//! `commands` uses all of them, `importer` uses `client` and `render`, `render` uses `client`, and
//! `client`, `render` and `host` use `cli`.

mod cli;
mod client;
mod commands;
mod host;
mod importer;
mod render;

use std::{io, process::ExitCode};

use clap::Parser as _;

use cli::Cli;
use render::output;

/// Both services make many small allocations: mimalloc saves a fifth of their time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match commands::run(cli.command).await {
        Ok(status) => ExitCode::from(status),
        // The reader of the output has closed the pipe, as in `concord watch | head`.
        Err(error) if is_closed_pipe(&error) => ExitCode::from(output::EXIT_OK),
        Err(error) => {
            output::note(format_args!("concord: {}", in_one_line(&error)));
            ExitCode::from(output::EXIT_ERROR)
        }
    }
}

/// Prints the help, or the error in the command line. The exit status of a usage error
/// is 1 and not 2: 2 means that records failed.
fn usage(error: &clap::Error) -> ExitCode {
    // An error of this write cannot be reported anywhere.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { output::EXIT_ERROR } else { output::EXIT_OK })
}

/// Joins an error and its causes in one line. Skips a cause whose text is already there:
/// many errors repeat the text of their cause.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_line_skips_repeated_causes() {
        let io = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = anyhow::Error::new(io).context("the database: connection refused");
        let error = error.context("the records service could not start");
        assert_eq!(
            in_one_line(&error),
            "the records service could not start: the database: connection refused"
        );
    }
}
