//! `ListPossibleDuplicates`.

use std::collections::{BTreeSet, HashMap};

use concord_core::{
    caller::Caller,
    page,
    rules::import::{ParsedRecord, parse_bytes},
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Imports,
    failures::{PAGE_BYTES, READ_ROWS},
    find, key,
    resolve::{DisplayNames, display_names},
};
use crate::{
    domain::{
        duplicate::{DuplicateRow, OtherRecord},
        enums::Kind,
        import::{Import, RowId},
    },
    error::ImportError,
    store::{self, duplicates::DuplicatePosition},
};

/// A possible duplicate, as it is returned to callers.
#[derive(Debug)]
pub(crate) struct DuplicateView {
    pub(crate) row: DuplicateRow,
    /// Empty in a dry run.
    pub(crate) record_id: String,
    pub(crate) record_name: String,
    pub(crate) client_reference: String,
    pub(crate) batch_key: String,
}

impl DuplicateView {
    /// The approximate size in a response, in bytes.
    fn size(&self) -> usize {
        let OtherRecord { record_id, source_id, name, reference, .. } = &self.row.duplicate.other;
        let own = [&self.row.source_id, &self.record_name, &self.client_reference];
        let texts = [&self.batch_key, record_id, source_id, name, reference].into_iter();
        texts.chain(own).map(String::len).sum()
    }
}

/// One page of the list.
#[derive(Debug)]
pub(crate) struct DuplicatesPage {
    pub(crate) duplicates: Vec<DuplicateView>,
    /// Empty on the last page.
    pub(crate) next_page_token: String,
}

/// The arguments that a page token is bound to.
#[derive(Serialize)]
struct Arguments<'a> {
    list: &'static str,
    practice: &'a str,
    import: Uuid,
    kind: Option<&'static str>,
}

impl Imports {
    /// One page of possible duplicates.
    pub(crate) async fn possible_duplicates(
        &self,
        caller: &Caller,
        id: Uuid,
        kind: Option<Kind>,
        page_size: usize,
        page_token: &str,
    ) -> Result<DuplicatesPage, ImportError> {
        let key = key(caller, id);
        let import = find(self.reader_of(&key)).await?;
        let practice = key.practice.as_str();
        let arguments = Arguments {
            list: "possible duplicates",
            practice,
            import: id,
            kind: kind.map(Kind::as_str),
        };
        let begin = page::begin_after(page_token, &arguments)?;
        let mut after = begin.unwrap_or_else(|| DuplicatePosition::start(kind));
        let mut duplicates: Vec<DuplicateView> = Vec::new();
        let (mut more, mut size) = (true, 0);
        while more && duplicates.len() < page_size && size < PAGE_BYTES {
            let limit = READ_ROWS.min(page_size - duplicates.len());
            let read = self.read_duplicates(&import, kind, &after, limit).await?;
            more = read.len() == limit;
            size += read.iter().map(DuplicateView::size).sum::<usize>();
            duplicates.extend(read);
            if let Some(last) = duplicates.last() {
                after = DuplicatePosition::of(&last.row);
            }
        }
        let next_page_token = if more { page::token(&arguments, &after) } else { String::new() };
        Ok(DuplicatesPage { duplicates, next_page_token })
    }

    async fn read_duplicates(
        &self,
        import: &Import,
        kind: Option<Kind>,
        after: &DuplicatePosition,
        limit: usize,
    ) -> Result<Vec<DuplicateView>, ImportError> {
        let db = self.reader_of(&import.key);
        let rows = store::duplicates::page(db, kind, after, limit).await?;
        let row_ids: BTreeSet<RowId> = rows.iter().map(|(row, _)| row.at).collect();
        let ordinals: BTreeSet<i64> = row_ids.iter().map(|at| at.batch).collect();
        let batch_keys = store::batches::keys(db, ordinals.into_iter().collect()).await?;
        let payloads = store::staged::payloads(db, row_ids).await?;
        let records: HashMap<RowId, ParsedRecord> =
            payloads.into_iter().map(|(at, payload)| (at, parse_bytes(&payload))).collect();
        let names = display_names(db, records.values()).await?;
        let describe = |(row, record_id): (DuplicateRow, String)| {
            let record = records.get(&row.at);
            let name = |name: fn(&_, &ParsedRecord) -> String| {
                record.map(|record| name(&names, record)).unwrap_or_default()
            };
            DuplicateView {
                // The record id of a dry run does not exist.
                record_id: if import.validate_only { String::new() } else { record_id },
                record_name: name(DisplayNames::record_name),
                client_reference: name(DisplayNames::client_reference),
                batch_key: batch_keys.get(&row.at.batch).cloned().unwrap_or_default(),
                row,
            }
        };
        Ok(rows.into_iter().map(describe).collect())
    }
}
