//! The commands on timelines.

use chrono::NaiveDate;
use concord_core::rules::date::Period;

use crate::domain::timeline::{
    AddEntry, AddPastEntry, CancelScheduledEntry, CorrectEntry, EndEntry, Entry, RescindEntry,
    Timeline, TimelineError, TimelineKey,
};

/// The start and the end of a correction; the outer option is `None` when a date was not
/// given.
pub(crate) type GivenDates = (Option<Option<NaiveDate>>, Option<Option<NaiveDate>>);

/// A command on a timeline, with the etag that it is checked against.
#[derive(Clone, Debug)]
pub(crate) enum HistoryCommand {
    Add {
        record: String,
        timeline: TimelineKey,
        command: AddEntry,
        current_etag: String,
        external_id: Option<String>,
    },
    AddPast {
        record: String,
        timeline: TimelineKey,
        command: AddPastEntry,
        record_etag: String,
        external_id: Option<String>,
    },
    /// A correction. Dates that were not given do not change.
    Correct {
        command: CorrectEntry,
        dates: GivenDates,
        etag: String,
    },
    End(EndEntry, String),
    Cancel(CancelScheduledEntry, String),
    Rescind(RescindEntry, String),
}

/// The correction with its new period.
pub(super) fn with_dates(
    timeline: &Timeline,
    command: &CorrectEntry,
    dates: GivenDates,
) -> Result<CorrectEntry, TimelineError> {
    let period = corrected_period(timeline.entry(command.id)?, dates);
    Ok(CorrectEntry { period, ..command.clone() })
}

/// The new period of a correction; `None` when no date was given.
fn corrected_period(entry: &Entry, (from, to): GivenDates) -> Option<Period> {
    if from.is_none() && to.is_none() {
        return None;
    }
    let Period { from: old_from, to: old_to } = entry.period;
    Some(Period::new(from.unwrap_or(old_from), to.unwrap_or(old_to)))
}
