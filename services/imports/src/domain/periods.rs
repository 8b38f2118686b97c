//! The addresses of one owner and type, as one timeline.
//!
//! A period includes its first day and not its last. A blank end is where the
//! next row begins; a blank start is an unknown one, before all others. Rows
//! that overlap all fail: nobody can say which of them is right.

use chrono::NaiveDate;
use shared::rules::date::Period;

use super::finding::MAX_NAMES;

/// One address of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dated {
    /// Its source id.
    pub(crate) source_id: String,
    /// Its dates as they came; an end is after the start.
    pub(crate) period: Period,
}

/// What the timeline says of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Where it ends, after the next one's start was taken into account.
    pub(crate) ends: Option<NaiveDate>,
    /// The source ids of those that it overlaps, in order, a few at most.
    pub(crate) overlaps: Vec<String>,
    /// Whether it overlaps more than those.
    pub(crate) overlaps_more: bool,
}

/// Judges a whole timeline; the answers are in the order of `rows`.
///
/// Rows with one source id are not held against each other: that is the
/// business of their key.
pub(crate) fn judge_timeline(rows: &[Dated]) -> Vec<Place> {
    let spans = spans(rows);
    let overlaps = overlaps(&spans);
    let mut names: Vec<&str> = rows.iter().map(|row| row.source_id.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut places = vec![Place::default(); rows.len()];
    for (span, overlaps) in spans.iter().zip(overlaps) {
        if let Some(place) = places.get_mut(span.row) {
            place.ends = span.end;
            place.overlaps_more = overlaps.0.len() > MAX_NAMES;
            let shown = overlaps.0.iter().take(MAX_NAMES).filter_map(|rank| names.get(*rank));
            place.overlaps = shown.map(|name| (*name).to_owned()).collect();
        }
    }
    places
}

/// A row with its real end.
struct Span {
    row: usize,
    /// The place of its source id among all, in order.
    rank: usize,
    start: Option<NaiveDate>,
    end: Option<NaiveDate>,
}

impl Span {
    fn begins_before_end_of(&self, other: &Self) -> bool {
        other.end.is_none_or(|end| self.start.is_none_or(|start| start < end))
    }
}

/// The rows by their start, the unknown ones first, each with its real end.
fn spans(rows: &[Dated]) -> Vec<Span> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.source_id.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut starts: Vec<NaiveDate> = rows.iter().filter_map(|row| row.period.from).collect();
    starts.sort_unstable();
    let next_after = |start: Option<NaiveDate>| {
        let at = start.map_or(0, |start| starts.partition_point(|other| *other <= start));
        starts.get(at).copied()
    };
    let span = |(row, dated): (usize, &Dated)| Span {
        row,
        rank: names.binary_search(&dated.source_id.as_str()).unwrap_or_default(),
        start: dated.period.from,
        end: dated.period.to.or_else(|| next_after(dated.period.from)),
    };
    let mut spans: Vec<Span> = rows.iter().enumerate().map(span).collect();
    // `None` is less than any date.
    spans.sort_by_key(|span| span.start);
    spans
}

/// The least ranks seen, one more of them than are named.
#[derive(Clone, Default)]
struct Least(Vec<usize>);

impl Least {
    fn note(&mut self, rank: usize) {
        if let Err(at) = self.0.binary_search(&rank)
            && at <= MAX_NAMES
        {
            self.0.insert(at, rank);
            self.0.truncate(MAX_NAMES + 1);
        }
    }
}

/// Which spans each span overlaps; `spans` are in the order of their starts.
fn overlaps(spans: &[Span]) -> Vec<Least> {
    let mut found = vec![Least::default(); spans.len()];
    for (at, span) in spans.iter().enumerate() {
        // A later one overlaps this one when it begins before this one ends.
        let later = spans.iter().enumerate().skip(at + 1);
        for (other_at, other) in later.take_while(|(_, other)| other.begins_before_end_of(span)) {
            if other.rank == span.rank {
                continue;
            }
            for (at, rank) in [(at, other.rank), (other_at, span.rank)] {
                if let Some(least) = found.get_mut(at) {
                    least.note(rank);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
