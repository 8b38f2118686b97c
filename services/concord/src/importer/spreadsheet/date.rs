//! Detects cells that a spreadsheet converted to a date or a time.

use chrono::{Datelike as _, Days, NaiveDate};
use concord_core::rules::text::fold;

use super::number;

/// The seconds of a day.
const DAY: u32 = 86_400;

/// The epochs of serial dates in spreadsheets.
const EPOCHS: [(i32, u32, u32); 2] = [(1899, 12, 30), (1904, 1, 1)];

/// The last supported serial date, in 2100.
const LAST_SERIAL: u64 = 73_415;

/// The names of the months in European languages, without accents. A prefix of three or more
/// letters is an abbreviation.
const MONTHS: [&[&str]; 12] = [
    &["january", "januar", "janvier", "enero", "gennaio", "januari", "styczen", "eanair", "ionawr"],
    &["february", "februar", "fevrier", "febrero", "febbraio", "luty", "feabhra", "chwefror"],
    &["march", "marz", "mrz", "mars", "marzo", "maart", "mrt", "marzec", "marta", "mawrth"],
    &["april", "avril", "abril", "aprile", "kwiecien", "aibrean", "ebrill"],
    &["may", "mai", "mayo", "maggio", "mei", "maj", "bealtaine"],
    &["june", "juni", "juin", "junio", "giugno", "czerwiec", "meitheamh", "mehefin"],
    &["july", "juli", "juillet", "julio", "luglio", "lipiec", "iuil", "gorffennaf"],
    &["august", "aout", "agosto", "augustus", "sierpien", "lunasa", "awst"],
    &["september", "septembre", "septiembre", "settembre", "wrzesien", "mfomhair", "medi"],
    &["october", "oktober", "octobre", "octubre", "ottobre", "pazdziernik", "dfomhair", "hydref"],
    &["november", "novembre", "noviembre", "listopad", "samhain", "tachwedd"],
    &[
        "december",
        "dezember",
        "decembre",
        "diciembre",
        "dicembre",
        "grudzien",
        "nollaig",
        "rhagfyr",
    ],
];

/// Whether a spreadsheet interprets the text as a date or a time.
pub(super) fn is_date(text: &str) -> bool {
    !interpretations(text, Source::Typed).is_empty() || seconds(text).is_some()
}

/// Whether `is` is a converted form of `was`.
///
/// `2021-03-01` as `01/03/2021`, `3/1/21`, `1-Mar-21`, `Mar-21` or `44256`; `DEC1` as
/// `01-Dec`, `3/4` as `03-Apr` or `04/03/2026`; `APR31` as `Apr-31` or `01/04/1931`;
/// `1:30` as `01:30:00` or `0.0625`.
pub(super) fn is_converted(was: &str, is: &str) -> bool {
    let days = interpretations(was, Source::Typed);
    let shown = || [interpretations(is, Source::Shown), serial_dates(is)].concat();
    (!days.is_empty() && shown().iter().any(|is| days.iter().any(|was| was.matches(*is))))
        || seconds(was)
            .is_some_and(|was| seconds(is) == Some(was) || number::is_quotient(was, DAY, is))
}

/// A possible interpretation of a text as a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interpretation {
    /// Below 100 when the text has no century.
    year: Option<u32>,
    month: u32,
    day: Option<u32>,
}

impl Interpretation {
    /// Whether a spreadsheet displays this date as the other one: both are the same day, and
    /// either may omit the day or the year.
    fn matches(self, other: Self) -> bool {
        let years = self.year.zip(other.year).map(|(was, is)| is_displayed_year(was, is));
        let days = self.day.zip(other.day).map(|(one, other)| one == other);
        // An equal month alone is not enough.
        let known = years.is_some() || days.is_some();
        known && self.month == other.month && years != Some(false) && days != Some(false)
    }

    /// The interpretation; none when it is not a valid date.
    fn of(year: Option<u32>, month: u32, day: Option<u32>) -> Option<Self> {
        // A leap year when the text has no year.
        let full = match year {
            None => 2024,
            Some(short) if short < 100 => 2000 + short,
            Some(year) => year,
        };
        let is_day = NaiveDate::from_ymd_opt(i32::try_from(full).ok()?, month, day.unwrap_or(1));
        is_day.map(|_| Self { year, month, day })
    }
}

/// Whether a spreadsheet displays the year as the other one. It may omit the century, or add one
/// to a year of two digits.
fn is_displayed_year(was: u32, is: u32) -> bool {
    let is_of_century = match was {
        0..30 => is == 2000 + was,
        // Some systems are set to centuries up to 2049.
        30..50 => [1900 + was, 2000 + was].contains(&is),
        50..100 => is == 1900 + was,
        _ => is == was % 100,
    };
    was == is || is_of_century
}

/// A part of a date.
#[derive(Clone, Debug)]
enum Part {
    Number {
        value: u32,
        digits: usize,
    },
    /// The months that the word may mean.
    Month(Vec<u32>),
}

/// The source of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Typed by a user: a number next to a month is a day, when the month has this day.
    Typed,
    /// Displayed by a spreadsheet: the number may also be a year.
    Shown,
}

impl Source {
    fn may_be_year(self, number: u32, month: u32) -> bool {
        // In a common year: 29 after February may be a year, and is also read as a day.
        let is_day = NaiveDate::from_ymd_opt(2023, month, number).is_some();
        self == Self::Shown || !is_day
    }
}

/// All possible interpretations of a text as a date.
fn interpretations(text: &str, from: Source) -> Vec<Interpretation> {
    let parts = parts(without_time(text)).unwrap_or_default();
    let mut found = Vec::new();
    match parts.as_slice() {
        [
            Part::Number { value: a, digits },
            Part::Number { value: b, .. },
            Part::Number { value: c, .. },
        ] => {
            found.push(Interpretation::of(Some(*a), *b, Some(*c)));
            if *digits < 3 {
                found.push(Interpretation::of(Some(*c), *b, Some(*a)));
                found.push(Interpretation::of(Some(*c), *a, Some(*b)));
            }
        }
        [Part::Number { value: a, .. }, Part::Month(months), Part::Number { value: b, .. }] => {
            for month in months {
                found.push(Interpretation::of(Some(*b), *month, Some(*a)));
                found.push(Interpretation::of(Some(*a), *month, Some(*b)));
            }
        }
        [Part::Month(months), Part::Number { value: a, .. }, Part::Number { value: b, .. }] => {
            found.extend(months.iter().map(|month| Interpretation::of(Some(*b), *month, Some(*a))));
        }
        [Part::Number { value: a, .. }, Part::Number { value: b, .. }] => {
            found.push(Interpretation::of(None, *b, Some(*a)));
            found.push(Interpretation::of(None, *a, Some(*b)));
            for (year, month) in [(*a, *b), (*b, *a)] {
                found.push(month_of(from, year, month));
            }
        }
        [Part::Month(months), Part::Number { value, .. }]
        | [Part::Number { value, .. }, Part::Month(months)] => {
            for month in months {
                found.push(Interpretation::of(None, *month, Some(*value)));
                found.push(month_of(from, *value, *month));
            }
        }
        _ => {}
    }
    found.into_iter().flatten().collect()
}

/// A month of a year. A spreadsheet adds the first day to a typed month.
fn month_of(from: Source, year: u32, month: u32) -> Option<Interpretation> {
    let day = (from == Source::Typed).then_some(1);
    from.may_be_year(year, month).then(|| Interpretation::of(Some(year), month, day)).flatten()
}

/// The interpretations of a serial date, which a cell without date format displays.
fn serial_dates(text: &str) -> Vec<Interpretation> {
    let serial: Option<u64> = text.parse().ok().filter(|serial| (1..=LAST_SERIAL).contains(serial));
    let day = |(year, month, day)| {
        let day =
            NaiveDate::from_ymd_opt(year, month, day)?.checked_add_days(Days::new(serial?))?;
        Interpretation::of(Some(day.year().unsigned_abs()), day.month(), Some(day.day()))
    };
    EPOCHS.into_iter().filter_map(day).collect()
}

/// The text without a time of day, which some formats add to a date.
fn without_time(text: &str) -> &str {
    let split = text.rsplit_once([' ', 'T']);
    split.filter(|(_, time)| seconds(time).is_some()).map_or(text, |(day, _)| day)
}

/// Splits a text into two or three numbers and months.
fn parts(text: &str) -> Option<Vec<Part>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_same = |c: char| {
            if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_alphabetic() }
        };
        let end = rest.find(|c| !is_same(c)).unwrap_or(rest.len());
        let (part, behind) = rest.split_at_checked(end)?;
        parts.push(if first.is_ascii_digit() {
            (part.len() <= 4).then_some(())?;
            Part::Number { value: part.parse().ok()?, digits: part.len() }
        } else {
            Part::Month(Some(months(part)).filter(|months| !months.is_empty())?)
        });
        // A dot after an abbreviation, a comma after the day, blanks around a separator.
        let signs = behind.trim_start_matches([' ', '.', ',', '/', '-']);
        let between = behind.len() - signs.len();
        (between <= 3 && parts.len() <= 3).then_some(())?;
        rest = signs;
    }
    (2..=3).contains(&parts.len()).then_some(parts)
}

fn months(word: &str) -> Vec<u32> {
    let word = fold(word);
    let is_it = |names: &&[&str]| {
        word.len() >= 3 && names.iter().any(|name| name.starts_with(word.as_str()))
    };
    let numbered = (1..).zip(&MONTHS);
    numbered.filter(|(_, names)| is_it(names)).map(|(month, _)| month).collect()
}

/// Parses a time of day, `1:30`, `01:30:00` or `1 PM`, in seconds.
fn seconds(text: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let (clock, half) = match text.strip_suffix("am").or_else(|| text.strip_suffix(" a")) {
        Some(clock) => (clock.trim_end(), Some(0)),
        None => match text.strip_suffix("pm").or_else(|| text.strip_suffix(" p")) {
            Some(clock) => (clock.trim_end(), Some(12)),
            None => (text.trim_end_matches('z'), None),
        },
    };
    let mut parts = Vec::new();
    for part in clock.split(':') {
        let part = part.strip_suffix(".000").or_else(|| part.strip_suffix(".0")).unwrap_or(part);
        (1..=4).contains(&part.len()).then_some(())?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        parts.push(part.parse::<u32>().ok()?);
    }
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours] if half.is_some() => (*hours, 0, 0),
        [hours, minutes] => (*hours, *minutes, 0),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let hours = half.map_or(hours, |half| hours % 12 + half);
    Some(hours * 3_600 + minutes * 60 + seconds)
}
