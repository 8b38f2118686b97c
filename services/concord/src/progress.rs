//! The progress bar of an import. Nothing is drawn when standard error is not a
//! terminal; remarks are written all the same.

use std::{
    fmt::Display,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use shared::pb::imports::{Import, ImportCounters, ImportState};
use tonic::Status;

use crate::{output, refused::Refused};

const TEMPLATE: &str = "{msg:10} {wide_bar:.green} {human_pos}/{human_len} {elapsed}";

/// How far an import has come.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Whether the present trouble was told: once is enough.
    in_trouble: AtomicBool,
    /// What the import said last about why it waits.
    told: Mutex<String>,
}

impl Progress {
    /// Of an import of so many records.
    pub(crate) fn new(records: u64) -> Self {
        let bar = ProgressBar::new(records);
        // The template is ours, and is right.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message("uploading");
        Self::of(bar)
    }

    /// Of something that takes no time: nothing is drawn.
    pub(crate) fn hidden() -> Self {
        Self::of(ProgressBar::hidden())
    }

    fn of(bar: ProgressBar) -> Self {
        Self { bar, in_trouble: AtomicBool::new(false), told: Mutex::default() }
    }

    /// So many records are to come.
    pub(crate) fn expect(&self, records: u64) {
        self.bar.set_length(records);
    }

    /// So many more records were uploaded.
    pub(crate) fn uploaded(&self, records: usize) {
        self.well();
        self.bar.inc(records as u64);
    }

    /// The import was sealed, and is now like this.
    pub(crate) fn seen(&self, import: &Import) {
        self.well();
        let counters = import.counters.unwrap_or_default();
        self.bar.set_message(phase(import.state()));
        self.bar.set_length(u64::try_from(counters.received).unwrap_or_default());
        self.bar.set_position(verdicts(&counters));
        self.tell_why_it_waits(&import.note);
    }

    /// Writes the note of the import, once.
    fn tell_why_it_waits(&self, note: &str) {
        let told = std::mem::replace(
            &mut *self.told.lock().unwrap_or_else(PoisonError::into_inner),
            note.to_owned(),
        );
        if !note.is_empty() && told != note {
            self.note(note);
        }
    }

    /// A call failed and will be made again.
    pub(crate) fn trouble(&self, status: &Status) {
        if !self.in_trouble.swap(true, Ordering::Relaxed) {
            self.note(format_args!("{}; trying again", Refused(status.clone())));
        }
    }

    /// Writes a remark, above the bar.
    pub(crate) fn note(&self, text: impl Display) {
        self.bar.suspend(|| output::note(text));
    }

    fn well(&self) {
        if self.in_trouble.swap(false, Ordering::Relaxed) {
            self.note("going on");
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

/// How many records have their verdict.
fn verdicts(counters: &ImportCounters) -> u64 {
    u64::try_from(counters.received - counters.unprocessed).unwrap_or_default()
}
