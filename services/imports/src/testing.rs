//! Helpers for the tests of other crates.

use concord_proto::pb::{
    imports::{ImportRecord, import_record::Record},
    records::ErrorReason,
};

use crate::{
    domain::{
        enums::{Kind, Status},
        failure::{Failure, FailureRow},
        import::RowId,
        issue::RecordIssue,
    },
    failures_file::{Csv, FileWriter as _, Line},
};

/// A failures file of an import in which all of these records failed.
#[must_use]
pub fn failures_file(import: &str, records: impl IntoIterator<Item = ImportRecord>) -> Vec<u8> {
    let mut file = Csv::new();
    for (row, record) in (1..).zip(records) {
        // Writing to memory does not fail.
        let _ = file.write(&Line::of(import, &failure(row, &record), &record));
    }
    file.take().into()
}

fn failure(row: i64, record: &ImportRecord) -> Failure {
    let kind = match record.record {
        Some(Record::Client(_)) => Kind::Client,
        Some(Record::Contact(_)) => Kind::Contact,
        Some(Record::Address(_)) => Kind::Address,
        None => Kind::Unknown,
    };
    let text = "Source id is used by records with different values";
    let issue = RecordIssue::new("source_id", ErrorReason::DuplicateKey, text);
    let row = FailureRow {
        at: RowId { batch: 1, row },
        ordinal: 0,
        kind,
        source_id: String::new(),
        status: Status::Failed,
        round: 1,
        issue,
    };
    Failure {
        row,
        source_id: String::new(),
        record_name: String::new(),
        client_reference: String::new(),
        batch_key: "b-1".into(),
    }
}
