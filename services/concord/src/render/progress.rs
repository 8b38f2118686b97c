//! The progress bar of an import. It is drawn only when standard error is a terminal.
//! Remarks are always written.

use std::{
    fmt::Display,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use concord_proto::pb::imports::{Import, ImportCounters, ImportState};
use indicatif::{ProgressBar, ProgressStyle};
use tonic::Status;

use super::output;
use crate::client::{CallError, RetryObserver};

const TEMPLATE: &str = "{msg:10} {wide_bar:.green} {human_pos}/{human_len} {elapsed}";

/// The progress of an import.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Whether the current series of failed calls was reported: it is reported once.
    is_retrying: AtomicBool,
    /// The status message of the import that was reported last.
    last_message: Mutex<String>,
}

impl Progress {
    /// A progress bar for this number of records.
    pub(crate) fn new(records: u64) -> Self {
        let bar = ProgressBar::new(records);
        // The template is constant and valid.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message("uploading");
        Self::of(bar)
    }

    /// A hidden progress bar, for short operations.
    pub(crate) fn hidden() -> Self {
        Self::of(ProgressBar::hidden())
    }

    fn of(bar: ProgressBar) -> Self {
        Self { bar, is_retrying: AtomicBool::new(false), last_message: Mutex::default() }
    }

    /// Sets the number of records.
    pub(crate) fn set_total(&self, records: u64) {
        self.bar.set_length(records);
    }

    /// Advances the bar by uploaded records.
    pub(crate) fn uploaded(&self, records: usize) {
        self.recovered();
        self.bar.inc(records as u64);
    }

    /// Shows the state of an import that was sealed.
    pub(crate) fn update(&self, import: &Import) {
        self.recovered();
        let counters = import.counters.unwrap_or_default();
        self.bar.set_message(phase(import.state()));
        self.bar.set_length(u64::try_from(counters.received).unwrap_or_default());
        self.bar.set_position(processed(&counters));
        self.report_status_message(&import.status_message);
    }

    /// Writes the status message of the import, when it has changed.
    fn report_status_message(&self, message: &str) {
        let last = std::mem::replace(
            &mut *self.last_message.lock().unwrap_or_else(PoisonError::into_inner),
            message.to_owned(),
        );
        if !message.is_empty() && last != message {
            self.note(message);
        }
    }

    /// Writes a remark, above the bar.
    pub(crate) fn note(&self, text: impl Display) {
        self.bar.suspend(|| output::note(text));
    }

    /// Reports that calls succeed again.
    fn recovered(&self) {
        if self.is_retrying.swap(false, Ordering::Relaxed) {
            self.note("recovered");
        }
    }
}

impl RetryObserver for Progress {
    /// Reports a retry; once for each series of failures.
    fn retrying(&self, status: &Status) {
        if !self.is_retrying.swap(true, Ordering::Relaxed) {
            self.note(format_args!("{}; retrying", CallError(status.clone())));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn phase(state: ImportState) -> &'static str {
    match state {
        ImportState::Unspecified | ImportState::Receiving => "uploading",
        ImportState::Sealed => "waiting",
        ImportState::Resolving => "checking",
        ImportState::Applying => "applying",
        ImportState::Completed | ImportState::CompletedWithFailures | ImportState::Validated => {
            "done"
        }
        ImportState::Cancelled => "cancelled",
        ImportState::Expired => "expired",
        ImportState::Stalled => "stalled",
        ImportState::FailedInternally => "failed internally",
    }
}

/// The number of records with an outcome.
fn processed(counters: &ImportCounters) -> u64 {
    u64::try_from(counters.received - counters.unprocessed).unwrap_or_default()
}
