//! Calendar dates, and periods that include their first day and not their last.

use chrono::{Datelike as _, NaiveDate};

use super::{
    text::{check_characters, normalise_id, quote},
    violation::Problem,
};
use crate::pb::records::{EntryStatus, ErrorReason};

/// The first year that a date may have.
pub const FIRST_YEAR: u16 = 1_000;

/// The last year that a date may have.
pub const LAST_YEAR: u16 = 9_999;

/// Reads a day written as `2026-03-01`, of the years [`FIRST_YEAR`] to
/// [`LAST_YEAR`], with white space around it or not, and with invisible characters
/// removed. Blank text is no date; anything else is `INVALID_DATE`, days that do not
/// exist too.
pub fn parse_date(text: &str) -> Result<Option<NaiveDate>, Problem> {
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
    Err(Problem::new(ErrorReason::InvalidDate, text))
}

/// A day in its only form, which chrono alone would not insist on: it also reads
/// `2026-3-1` and `+2026-03-01`.
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

/// A date as text: `2026-03-01`, or nothing when there is none.
pub fn date_text(date: Option<NaiveDate>) -> String {
    date.map(|day| day.to_string()).unwrap_or_default()
}

/// The days from `from` on, up to the day before `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Period {
    /// The first day; `None` when it is not known, which counts as ever.
    pub from: Option<NaiveDate>,
    /// The first day that it holds no longer; `None` while it has no end.
    pub to: Option<NaiveDate>,
}

impl Period {
    /// A period, which may be an invalid one.
    pub fn new(from: Option<NaiveDate>, to: Option<NaiveDate>) -> Self {
        Self { from, to }
    }

    /// Whether it has at least one day: its end, when it has one, is after its
    /// start.
    pub fn is_valid(&self) -> bool {
        match (self.from, self.to) {
            (Some(from), Some(to)) => from < to,
            _ => true,
        }
    }

    /// `PERIOD_INVALID`, a violation of the end, unless it [is
    /// valid](Self::is_valid).
    pub fn check(self) -> Result<Self, Problem> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if to <= from => Err(Problem::new(
                ErrorReason::PeriodInvalid,
                format!(
                    "Period is not valid: it ends on {to}, which is not after its start, {from}"
                ),
            )),
            _ => Ok(self),
        }
    }

    /// Whether a day is in both. An invalid period has no days.
    pub fn overlaps(&self, other: &Self) -> bool {
        let from = self.from.max(other.from);
        let to = match (self.to, other.to) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { from, to }.is_valid() && self.is_valid() && other.is_valid()
    }

    /// The days that are known to be in it. When the start is not known, that is
    /// the day before the end alone; without an end either, it is what comes after
    /// all other days.
    #[must_use]
    pub fn known(&self) -> Self {
        match (self.from, self.to) {
            (None, Some(to)) => Self { from: to.pred_opt(), to: Some(to) },
            (None, None) => Self { from: Some(NaiveDate::MAX), to: None },
            _ => *self,
        }
    }

    /// Whether two addresses of one type cannot both have their period: a day is
    /// known to be in both. A start that is not known lets any period in before it.
    pub fn collides(&self, other: &Self) -> bool {
        self.known().overlaps(&other.known())
    }

    /// Whether `day` is in it.
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }

    /// Where it stands, seen from `today`.
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
