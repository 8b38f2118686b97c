//! `concord`: one client record for every product of an accountancy practice.
//!
//! The program runs both services and is a command line client for them. The client
//! connects products, imports CSV files, subscribes to change events, lists the lag of
//! subscriptions, traces the delivery of a change, and finds and shows records.
//!
//! - Command line: [`cli`], and one module for each of the [`commands`].
//! - Reading and packing CSV files: [`csv_source`], [`corrections`], [`batches`].
//! - Calls to the services: [`client`], [`retry`], [`call_error`], [`transfer`] (uploads),
//!   [`rounds`], [`import_watch`], [`failures`], [`feed`] (change events).
//! - Output: [`output`], [`progress`], [`summary`] and [`report`] (the result of an
//!   import), [`import_page`], [`import_table`], [`import_counts`], [`failure_table`],
//!   [`event_text`], [`event_json`], [`event_names`], [`search_results`], [`record_page`]
//!   (one record), [`lag`] (subscriptions), [`trace_page`] (delivery of a change).
//! - Running the services in this process: [`services`], [`shutdown`].

mod batches;
mod call_error;
mod cli;
mod client;
mod commands;
mod corrections;
mod csv_source;
mod duplicate_table;
mod event_json;
mod event_names;
mod event_text;
mod failure_table;
mod failures;
mod feed;
mod import_counts;
mod import_page;
mod import_table;
mod import_watch;
mod lag;
mod output;
mod progress;
mod record_page;
mod report;
mod retry;
mod rounds;
mod search_results;
mod services;
mod shutdown;
mod spreadsheet;
mod summary;
mod trace_page;
mod transfer;

use std::{io, process::ExitCode};

use clap::Parser as _;

use cli::Cli;

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
