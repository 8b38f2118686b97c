//! The addresses of one owner and type, as one timeline.
//!
//! A period includes its first day and excludes its last. A blank end is the start of
//! the next row; a blank start is unknown, and before all others. All rows that overlap
//! fail, because it is unknown which of them is correct.

use chrono::NaiveDate;
use concord_core::rules::date::Period;

use super::issue::MAX_NAMES;

/// One address of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatedAddress {
    /// Its source id.
    pub(crate) source_id: String,
    /// Its uploaded dates; an end is after the start.
    pub(crate) period: Period,
}

/// The result of the timeline for one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResolvedPeriod {
    /// The end of the period, with blank ends resolved.
    pub(crate) ends: Option<NaiveDate>,
    /// Source ids of the addresses that it overlaps, sorted, [`MAX_NAMES`] at most.
    pub(crate) overlaps: Vec<String>,
    /// Whether it overlaps more than those.
    pub(crate) overlaps_more: bool,
}

/// Checks a whole timeline; the results are in the order of `rows`.
///
/// Rows with the same source id are not compared with each other: the check of keys
/// does that.
pub(crate) fn judge_timeline(rows: &[DatedAddress]) -> Vec<ResolvedPeriod> {
    let spans = spans(rows);
    let overlaps = overlaps(&spans);
    let mut names: Vec<&str> = rows.iter().map(|row| row.source_id.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut results = vec![ResolvedPeriod::default(); rows.len()];
    for (span, overlaps) in spans.iter().zip(overlaps) {
        if let Some(result) = results.get_mut(span.row) {
            result.ends = span.end;
            result.overlaps_more = overlaps.0.len() > MAX_NAMES;
            let shown = overlaps.0.iter().take(MAX_NAMES).filter_map(|rank| names.get(*rank));
            result.overlaps = shown.map(|name| (*name).to_owned()).collect();
        }
    }
    results
}

/// A row with its resolved end.
struct Span {
    row: usize,
    /// The rank of its source id among all, sorted.
    rank: usize,
    start: Option<NaiveDate>,
    end: Option<NaiveDate>,
}

impl Span {
    fn begins_before_end_of(&self, other: &Self) -> bool {
        other.end.is_none_or(|end| self.start.is_none_or(|start| start < end))
    }
}

/// The rows sorted by start, unknown starts first, each with its resolved end.
fn spans(rows: &[DatedAddress]) -> Vec<Span> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.source_id.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut starts: Vec<NaiveDate> = rows.iter().filter_map(|row| row.period.from).collect();
    starts.sort_unstable();
    let next_after = |start: Option<NaiveDate>| {
        let at = start.map_or(0, |start| starts.partition_point(|other| *other <= start));
        starts.get(at).copied()
    };
    let span = |(row, dated): (usize, &DatedAddress)| Span {
        row,
        rank: names.binary_search(&dated.source_id.as_str()).unwrap_or_default(),
        start: dated.period.from,
        end: dated.period.to.or_else(|| next_after(dated.period.from)),
    };
    let mut spans: Vec<Span> = rows.iter().enumerate().map(span).collect();
    // `None` sorts before any date.
    spans.sort_by_key(|span| span.start);
    spans
}

/// The lowest ranks seen, one more than the number of names that are listed.
#[derive(Clone, Default)]
struct LowestRanks(Vec<usize>);

impl LowestRanks {
    fn insert(&mut self, rank: usize) {
        if let Err(at) = self.0.binary_search(&rank)
            && at <= MAX_NAMES
        {
            self.0.insert(at, rank);
            self.0.truncate(MAX_NAMES + 1);
        }
    }
}

/// For each span, the spans that it overlaps; `spans` are sorted by start.
fn overlaps(spans: &[Span]) -> Vec<LowestRanks> {
    let mut found = vec![LowestRanks::default(); spans.len()];
    for (at, span) in spans.iter().enumerate() {
        // A later span overlaps this one if it starts before this one ends.
        let later = spans.iter().enumerate().skip(at + 1);
        for (other_at, other) in later.take_while(|(_, other)| other.begins_before_end_of(span)) {
            if other.rank == span.rank {
                continue;
            }
            for (at, rank) in [(at, other.rank), (other_at, span.rank)] {
                if let Some(lowest) = found.get_mut(at) {
                    lowest.insert(rank);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
