//! Reads every record, and validates it by itself.

use concord_core::rules::{
    FieldViolations,
    import::{AddressSlot, ParsedRecord, parse_with_digest},
};

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::{
        batch::{MAX_RECORD_BYTES, kind_of},
        enums::{self, Status},
        import::RowId,
        issue::RecordIssue,
        issue_ordinal,
    },
    store::{
        self,
        edits::{Edits, NewFailure, NewParent, NewRecord, Timeline},
        staged::StagedRow,
    },
};

/// Records per page.
const PAGE: u64 = 2_000;

/// Reads the next records of a batch, or the first of the next batch.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let db = context.reader();
    let mut at: RowId = context.position()?.unwrap_or_default();
    let mut records = read(context, at).await?;
    while records.is_empty() {
        let Some(batch) = store::batches::next(db, at.batch + 1).await? else {
            return Ok(Page::last(Edits::default()));
        };
        at = RowId { batch, row: 0 };
        records = read(context, at).await?;
    }
    let mut edits = Edits { upsert: context.was_read_before(), ..Edits::default() };
    for record in records {
        at = record.at;
        add(&mut edits, context.round(), &record);
    }
    Ok(Page::more(edits, &at)?)
}

/// The next records of a batch without a verdict.
async fn read(context: &PageContext, after: RowId) -> Result<Vec<StagedRow>, PageError> {
    let db = context.reader();
    Ok(if context.was_read_before() {
        store::staged::page_without_verdict(db, after, PAGE).await?
    } else {
        store::staged::page(db, after, PAGE).await?
    })
}

/// Adds the result of one record to the changes of the page.
fn add(edits: &mut Edits, round: i64, record: &StagedRow) {
    let StagedRow { at, payload, counted_as, erased } = record;
    let at = *at;
    if *erased {
        return add_erased(edits, round, record);
    }
    let (parsed, digest) = parse_with_digest(payload);
    let kind = enums::kind_of(parsed.kind);
    let size = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let too_large =
        (size > MAX_RECORD_BYTES).then(|| RecordIssue::too_large(size, MAX_RECORD_BYTES));
    let status = match &parsed.outcome {
        _ if too_large.is_some() => Status::Failed,
        _ if parsed.excluded => Status::Excluded,
        Ok(_) => Status::Ready,
        Err(_) => Status::Failed,
    };
    edits.counters.add(counted_as.unwrap_or_else(|| kind_of(payload)), Status::Staged, -1);
    edits.counters.add(kind, status, 1);
    if status == Status::Ready {
        add_parents(edits, at, &parsed);
    }
    let timeline = timeline(&parsed);
    let ParsedRecord { source_id, reference_key, own_reference, outcome, warnings, .. } = parsed;
    let violations = outcome.err().into_iter().flatten().map(RecordIssue::from);
    let mut issues = too_large.into_iter().chain(violations).peekable();
    // The warnings of a valid record are added when its verdict is known.
    let warnings = if issues.peek().is_some() { warnings } else { FieldViolations::default() };
    let failure = |(ordinal, issue)| {
        let source_id = source_id.clone();
        NewFailure { at, ordinal, kind, source_id, status, issue }
    };
    edits.failures.extend((issue_ordinal::FIRST_OWN..).zip(issues).map(failure));
    edits.failures.extend(NewFailure::warnings(warnings, at, (kind, &source_id), status));
    edits.records.push(NewRecord {
        at,
        kind,
        source_id,
        digest,
        size_bytes: i64::try_from(payload.len()).unwrap_or(i64::MAX),
        status,
        reference: own_reference,
        reference_key,
        timeline,
        round,
    });
}

/// Adds an erased record: it fails, and has no key.
fn add_erased(edits: &mut Edits, round: i64, record: &StagedRow) {
    let (at, kind, status) = (record.at, kind_of(&record.payload), Status::Failed);
    edits.counters.add(record.counted_as.unwrap_or(kind), Status::Staged, -1);
    edits.counters.add(kind, status, 1);
    edits.failures.push(NewFailure::erased(at, kind, status));
    edits.records.push(NewRecord {
        at,
        kind,
        source_id: String::new(),
        digest: [0; 32],
        size_bytes: 0,
        status,
        reference: String::new(),
        reference_key: None,
        timeline: None,
        round,
    });
}

/// Only for valid records: the others are not checked by their parents.
fn add_parents(edits: &mut Edits, at: RowId, parsed: &ParsedRecord) {
    let parents = (0..).zip(&parsed.parents);
    edits.parents.extend(parents.map(|(ordinal, (kind, source_id))| NewParent {
        at,
        ordinal,
        kind: enums::kind_of(*kind),
        source_id: source_id.clone(),
    }));
}

/// The timeline of an address with valid dates, even if other fields are invalid.
fn timeline(parsed: &ParsedRecord) -> Option<Timeline> {
    let AddressSlot { address_type, active_from, active_to } = parsed.address_slot?;
    let (owner, source_id) = parsed.parents.first()?;
    let owner = enums::kind_of(*owner);
    let name = format!("{owner} {} {source_id}", address_type.as_str_name());
    Some(Timeline { name, active_from, active_to })
}
