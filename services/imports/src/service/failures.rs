//! `ListFailures`, and reading failures for the failures file.

use std::collections::{BTreeSet, HashMap};

use concord_core::{
    caller::Caller,
    ids::{self, IdKind},
    page,
    rules::{
        import::{ParsedRecord, parse},
        text::shorten,
    },
};
use concord_proto::pb::imports::ImportRecord;
use prost::Message as _;
use serde::Serialize;
use uuid::Uuid;

use super::{Imports, find, key, resolve::display_names};
use crate::{
    domain::{
        failure::{Failure, FailureRow},
        import::{ImportKey, RowId},
    },
    error::ImportError,
    store::{
        self,
        failures::{FailurePosition, Filter},
    },
};

/// Failures read in one query; each has a record of 64 KiB at most.
pub(super) const READ_ROWS: usize = 200;

/// Limit on the text of a page, in bytes, so that it fits in one message of 4 MiB. A
/// page that reaches it is shorter than requested.
pub(super) const PAGE_BYTES: usize = 2 * 1_024 * 1_024;

/// Number of characters that are shown of a source id that is too long to be a key.
const SHOWN_SOURCE_ID: usize = 200;

/// One page of the list.
#[derive(Debug)]
pub(crate) struct FailuresPage {
    /// The import, `imp_…`.
    pub(crate) import: String,
    pub(crate) failures: Vec<Failure>,
    /// Empty on the last page.
    pub(crate) next_page_token: String,
}

/// The arguments that a page token is bound to.
#[derive(Serialize)]
struct Arguments<'a> {
    list: &'static str,
    practice: &'a str,
    import: Uuid,
    filter: &'a Filter,
}

impl Imports {
    /// One page of failures.
    pub(crate) async fn failures(
        &self,
        caller: &Caller,
        id: Uuid,
        filter: &Filter,
        page_size: usize,
        page_token: &str,
    ) -> Result<FailuresPage, ImportError> {
        let key = key(caller, id);
        find(self.reader_of(&key)).await?;
        let practice = key.practice.as_str();
        let arguments = Arguments { list: "failures", practice, import: id, filter };
        let mut after: Option<FailurePosition> = page::begin_after(page_token, &arguments)?;
        let mut failures = Vec::new();
        let (mut more, mut size) = (true, 0);
        while more && failures.len() < page_size && size < PAGE_BYTES {
            let limit = READ_ROWS.min(page_size - failures.len());
            let read = self.read_failures(&key, filter, after.as_ref(), limit).await?;
            more = read.len() == limit;
            size += read.iter().map(|(failure, _)| failure.size()).sum::<usize>();
            failures.extend(read.into_iter().map(|(failure, _)| failure));
            let last = failures.last().map(|failure: &Failure| FailurePosition::of(&failure.row));
            after = last.or(after);
        }
        let next_page_token = match after {
            Some(last) if more => page::token(&arguments, &last),
            _ => String::new(),
        };
        Ok(FailuresPage { import: ids::text(IdKind::Import, id), failures, next_page_token })
    }

    /// Reads failures with their records; a record that cannot be decoded is empty.
    pub(super) async fn read_failures(
        &self,
        key: &ImportKey,
        filter: &Filter,
        after: Option<&FailurePosition>,
        limit: usize,
    ) -> Result<Vec<(Failure, ImportRecord)>, ImportError> {
        let db = self.reader_of(key);
        let rows = store::failures::page(db, filter, after, limit).await?;
        let row_ids: BTreeSet<RowId> = rows.iter().map(|row| row.at).collect();
        let ordinals: BTreeSet<i64> = row_ids.iter().map(|at| at.batch).collect();
        let batch_keys = store::batches::keys(db, ordinals.into_iter().collect()).await?;
        let payloads = store::staged::payloads(db, row_ids).await?;
        let decode = |(at, payload): (RowId, Vec<u8>)| {
            let record = ImportRecord::decode(payload.as_slice()).unwrap_or_default();
            let parsed = parse(&record);
            (at, (record, parsed))
        };
        let records: HashMap<RowId, (ImportRecord, ParsedRecord)> =
            payloads.into_iter().map(decode).collect();
        let names = display_names(db, records.values().map(|(_, parsed)| parsed)).await?;
        let describe = |row: FailureRow| {
            let batch_key = batch_keys.get(&row.at.batch).cloned().unwrap_or_default();
            let Some((record, parsed)) = records.get(&row.at) else {
                let source_id = row.source_id.clone();
                let (record_name, client_reference) = (String::new(), String::new());
                let failure = Failure { row, source_id, record_name, client_reference, batch_key };
                return (failure, ImportRecord::default());
            };
            let failure = Failure {
                source_id: source_id(&row, record),
                record_name: names.record_name(parsed),
                client_reference: names.client_reference(parsed),
                row,
                batch_key,
            };
            (failure, record.clone())
        };
        Ok(rows.into_iter().map(describe).collect())
    }
}

/// The key of the record, or the invalid source id that it has instead.
fn source_id(row: &FailureRow, record: &ImportRecord) -> String {
    if !row.source_id.is_empty() {
        return row.source_id.clone();
    }
    let own = crate::failures_file::own_source_id(record);
    shorten(own, SHOWN_SOURCE_ID)
}
