//! `concord`: one client record for every product of an accountancy practice.
//!
//! The program serves both services, shows them at work, and calls them: it
//! connects products, brings a practice over from CSV files, listens to the feed
//! of changes, says who is behind and where a change is on its way, finds
//! records, and shows all about one.
//!
//! - What there is to do: [`cli`], and one module for each of the [`commands`].
//! - Reading and packing CSV files: [`csv_source`], [`corrections`], [`batches`].
//! - Talking to the services: [`client`], [`retry`], [`refused`], [`transfer`],
//!   [`rounds`], [`watching`] (an import), [`failures`], [`feed`] (the changes).
//! - Talking to people: [`output`], [`progress`], [`summary`] and [`report`] (how
//!   an import ended), [`import_page`], [`import_table`], [`import_counts`],
//!   [`failure_table`], [`event_text`], [`event_json`], [`found`] (a search),
//!   [`record_page`] (one record), [`lag`] (subscriptions), [`trace_page`] (the
//!   way of a change), [`table`].
//! - Running the services in this process: [`pair`], [`stop`].

mod batches;
mod cli;
mod client;
mod commands;
mod corrections;
mod csv_source;
mod duplicate_table;
mod event_json;
mod event_text;
mod failure_table;
mod failures;
mod feed;
mod found;
mod import_counts;
mod import_page;
mod import_table;
mod lag;
mod output;
mod pair;
mod progress;
mod record_page;
mod refused;
mod report;
mod retry;
mod rounds;
mod spreadsheet;
mod stop;
mod summary;
mod table;
mod trace_page;
mod transfer;
mod watching;

use std::{io, process::ExitCode};

use clap::Parser as _;

use cli::Cli;

/// All went as asked; of an import: no record failed.
const DONE: u8 = 0;
/// The command could not run.
const COULD_NOT_RUN: u8 = 1;
/// The import ended, and some records failed.
const SOME_FAILED: u8 = 2;

/// Both services allocate much and little: with it they take a fifth less time.
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
        // Whoever read the output has seen enough, as in `concord watch | head`.
        Err(error) if is_closed_pipe(&error) => ExitCode::from(DONE),
        Err(error) => {
            output::note(format_args!("concord: {}", in_one_line(&error)));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Shows the help, or what is wrong with the command line. The status of a
/// wrong command line is not 2, which says that records failed.
fn usage(error: &clap::Error) -> ExitCode {
    // When even this cannot be written, there is nobody to tell.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { COULD_NOT_RUN } else { DONE })
}

/// The error and its causes, each once: many repeat the text of their cause.
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
    fn causes_that_are_told_already_are_left_out() {
        let io = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = anyhow::Error::new(io).context("the database: connection refused");
        let error = error.context("the records service could not start");
        assert_eq!(
            in_one_line(&error),
            "the records service could not start: the database: connection refused"
        );
    }
}
