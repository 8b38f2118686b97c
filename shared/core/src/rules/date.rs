//! Calendar dates, and half-open periods: the start is included, the end is not.

use chrono::{Datelike as _, NaiveDate};

use super::{
    text::{check_characters, normalise_id, quote},
    violation::ValueError,
};
use concord_proto::pb::records::{EntryStatus, ErrorReason};

/// The first valid year.
pub const FIRST_YEAR: u16 = 1_000;

/// The last valid year.
pub const LAST_YEAR: u16 = 9_999;

/// Parses a date such as `2026-03-01`, in the years [`FIRST_YEAR`] to [`LAST_YEAR`]. Ignores
/// surrounding white space and invisible characters. `None` for blank text. Any other text,
/// including a date that does not exist, is `INVALID_DATE`.
pub fn parse_date(text: &str) -> Result<Option<NaiveDate>, ValueError> {
    check_characters("Date", text)?;
    let given = normalise_id(text);
    if given.is_empty() {
        return Ok(None);
    }
    let text = match day(&given) {
        Some(day) if has_year(day) => return Ok(Some(day)),
        Some(_) => {
            format!("{} is not taken: give a year from {FIRST_YEAR} to {LAST_YEAR}", quote(&given))
        }
        None => format!("{} is not a date: write it as 2026-03-01", quote(&given)),
    };
    Err(ValueError::new(ErrorReason::InvalidDate, text))
}

/// Parses the form `2026-03-01` only. chrono also accepts `2026-3-1` and `+2026-03-01`.
fn day(text: &str) -> Option<NaiveDate> {
    let formed = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !formed {
        return None;
    }
    text.parse::<NaiveDate>().ok()
}

fn has_year(day: NaiveDate) -> bool {
    u16::try_from(day.year()).is_ok_and(|year| (FIRST_YEAR..=LAST_YEAR).contains(&year))
}

/// A date as text, such as `2026-03-01`; empty for `None`.
pub fn date_text(date: Option<NaiveDate>) -> String {
    date.map(|day| day.to_string()).unwrap_or_default()
}

/// A half-open period: the days from `from` to the day before `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Period {
    /// The first day; `None` if unknown, which means unbounded.
    pub from: Option<NaiveDate>,
    /// The day after the last day; `None` for an open period.
    pub to: Option<NaiveDate>,
}

impl Period {
    /// A period. It may be invalid.
    pub fn new(from: Option<NaiveDate>, to: Option<NaiveDate>) -> Self {
        Self { from, to }
    }

    /// True if the period has at least one day: the end, if any, is after the start.
    pub fn is_valid(&self) -> bool {
        match (self.from, self.to) {
            (Some(from), Some(to)) => from < to,
            _ => true,
        }
    }

    /// The period if it [is valid](Self::is_valid), otherwise `PERIOD_INVALID` for the end.
    pub fn check(self) -> Result<Self, ValueError> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if to <= from => Err(ValueError::new(
                ErrorReason::PeriodInvalid,
                format!(
                    "Period is not valid: it ends on {to}, which is not after its start, {from}"
                ),
            )),
            _ => Ok(self),
        }
    }

    /// True if the periods have a day in common. An invalid period has no days.
    pub fn overlaps(&self, other: &Self) -> bool {
        let from = self.from.max(other.from);
        let to = match (self.to, other.to) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { from, to }.is_valid() && self.is_valid() && other.is_valid()
    }

    /// The days that are certainly in the period. Without a start, that is the day before
    /// the end only. Without start and end, it is a period after all other days.
    #[must_use]
    pub fn known(&self) -> Self {
        match (self.from, self.to) {
            (None, Some(to)) => Self { from: to.pred_opt(), to: Some(to) },
            (None, None) => Self { from: Some(NaiveDate::MAX), to: None },
            _ => *self,
        }
    }

    /// True if two addresses of one type cannot have these periods: a day is certainly in
    /// both. A period with an unknown start does not collide with an earlier period.
    pub fn collides(&self, other: &Self) -> bool {
        self.known().overlaps(&other.known())
    }

    /// True if `day` is in the period.
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }

    /// The status of the period on the date `today`.
    pub fn status(&self, today: NaiveDate) -> EntryStatus {
        if self.from.is_some_and(|from| today < from) {
            EntryStatus::Scheduled
        } else if self.to.is_some_and(|to| to <= today) {
            EntryStatus::Past
        } else {
            EntryStatus::Current
        }
    }
}

#[cfg(test)]
mod tests;
