//! A naive implementation of the import rules: it compares each record with all others.

use super::sets::Entry;

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Client,
    Contact,
    Address,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Client, Self::Contact, Self::Address];
}

/// The final status of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Imported,
    Skipped,
    Excluded,
    Failed,
    Blocked,
}

impl Status {
    pub(super) const ALL: [Self; 5] =
        [Self::Imported, Self::Skipped, Self::Excluded, Self::Failed, Self::Blocked];

    pub(super) fn name(self) -> &'static str {
        ["IMPORTED", "SKIPPED", "EXCLUDED", "FAILED", "BLOCKED"][self as usize]
    }
}

/// One violation of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) status: Status,
    pub(super) reason: &'static str,
}

/// Every reason that [`judge`] gives.
pub(super) const REASONS: [&str; 9] = [
    BLANK,
    NO_LINE,
    EXCLUDED,
    REPEATED,
    CONFLICTING,
    SHARED_REFERENCE,
    OVERLAP,
    PARENT_MISSING,
    PARENT_FAILED,
];

const BLANK: &str = "REQUIRED_FIELD_BLANK";
const NO_LINE: &str = "ADDRESS_LINE_1_MISSING";
const EXCLUDED: &str = "CLIENT_TYPE_EXCLUDED";
const REPEATED: &str = "DUPLICATE_IN_IMPORT";
const CONFLICTING: &str = "DUPLICATE_KEY";
const SHARED_REFERENCE: &str = "DUPLICATE_REFERENCE";
const OVERLAP: &str = "PERIOD_OVERLAP";
const PARENT_MISSING: &str = "PARENT_NOT_FOUND";
const PARENT_FAILED: &str = "PARENT_FAILED";

/// The status of one record, and the reason of each violation.
pub(super) fn judge(all: &[Entry], at: usize) -> (Status, Vec<&'static str>) {
    let own = &all[at];
    if own.self_assessment {
        return (Status::Excluded, vec![EXCLUDED]);
    }
    let is_equal = |other: &Entry| Entry { encoded: Vec::new(), ..other.clone() } == stripped(own);
    let conflicts = same_key(all, own).any(|(_, other)| !is_equal(other));
    if !conflicts && same_key(all, own).any(|(other, _)| other < at) {
        return (Status::Skipped, vec![REPEATED]);
    }
    let mut reasons = Vec::new();
    if own.name.is_empty() {
        reasons.push(if own.kind == Kind::Address { NO_LINE } else { BLANK });
    }
    reasons.extend(conflicts.then_some(CONFLICTING));
    reasons.extend(shares_reference(all, own).then_some(SHARED_REFERENCE));
    reasons.extend(overlaps(all, own).then_some(OVERLAP));
    if reasons.is_empty() { by_parents(all, own) } else { (Status::Failed, reasons) }
}

fn stripped(entry: &Entry) -> Entry {
    Entry { encoded: Vec::new(), ..entry.clone() }
}

fn same_key<'a>(all: &'a [Entry], own: &'a Entry) -> impl Iterator<Item = (usize, &'a Entry)> {
    let same = |entry: &Entry| entry.kind == own.kind && entry.source_id == own.source_id;
    all.iter().enumerate().filter(move |(_, entry)| same(entry))
}

/// Returns true if another client has the same reference. Excluded clients do not count.
fn shares_reference(all: &[Entry], own: &Entry) -> bool {
    let clash = |other: &Entry| {
        other.kind == Kind::Client
            && !other.self_assessment
            && other.source_id != own.source_id
            && other.reference.to_lowercase() == own.reference.to_lowercase()
    };
    own.kind == Kind::Client && all.iter().any(clash)
}

/// Returns true if it overlaps another address of its owner and type. A blank start is
/// before all years; a blank end is the start of the next address.
fn overlaps(all: &[Entry], own: &Entry) -> bool {
    let row = |one: &Entry| one.kind == Kind::Address && timeline(one) == timeline(own);
    let rows: Vec<&Entry> = all.iter().filter(|one| row(one)).collect();
    let span = |one: &Entry| {
        let from = one.from.unwrap_or(i32::MIN);
        let next = rows.iter().filter_map(|other| other.from).filter(|next| *next > from).min();
        (from, one.to.or(next).unwrap_or(i32::MAX))
    };
    let clash = |other: &&Entry| {
        let (a, b) = (span(own), span(other));
        other.source_id != own.source_id && a.0 < b.1 && b.0 < a.1
    };
    own.kind == Kind::Address && rows.iter().any(clash)
}

fn timeline(address: &Entry) -> (&[(Kind, String)], &str) {
    (&address.parents, &address.address_type)
}

/// The result by the statuses of the parents: one violation for each parent that is not
/// imported.
fn by_parents(all: &[Entry], own: &Entry) -> (Status, Vec<&'static str>) {
    let (mut reasons, mut known, mut excluded) = (Vec::new(), false, false);
    for (kind, source_id) in &own.parents {
        let is = |entry: &Entry| entry.kind == *kind && entry.source_id == *source_id;
        let matching = all.iter().enumerate().filter(|(_, entry)| is(entry));
        let ends: Vec<Status> = matching.map(|(at, _)| judge(all, at).0).collect();
        if ends.contains(&Status::Imported) {
            known = true;
        } else if ends.contains(&Status::Failed) || ends.contains(&Status::Blocked) {
            reasons.push(PARENT_FAILED);
        } else if ends.contains(&Status::Excluded) {
            excluded = true;
        } else {
            reasons.push(PARENT_MISSING);
        }
    }
    if reasons.contains(&PARENT_MISSING) {
        (Status::Failed, reasons)
    } else if !reasons.is_empty() {
        (Status::Blocked, reasons)
    } else if excluded && !known {
        (Status::Excluded, vec![EXCLUDED])
    } else {
        (Status::Imported, reasons)
    }
}
