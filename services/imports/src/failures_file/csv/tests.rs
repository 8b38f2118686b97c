use std::collections::HashMap;

use concord_proto::pb::imports::{ImportClient, ImportRecord, import_record::Record};
use proptest::prelude::*;

use super::*;
use crate::domain::{
    enums::{Kind, Severity, Status},
    failure::{Failure, FailureRow},
    import::RowId,
    issue::RecordIssue,
};

fn line(name: &str, reference: &str) -> Line {
    let row = FailureRow {
        at: RowId { batch: 1, row: 7 },
        ordinal: 0,
        kind: Kind::Client,
        source_id: "K02".into(),
        round: 1,
        status: Status::Blocked,
        issue: RecordIssue {
            field: "utr".into(),
            reason: "INVALID_UTR".into(),
            text: "UTR is not valid".into(),
            root_cause: String::new(),
            severity: Severity::Error,
        },
    };
    let failure = Failure {
        row,
        source_id: "K02".into(),
        record_name: name.into(),
        client_reference: String::new(),
        batch_key: "b-1".into(),
    };
    let client = ImportClient {
        registered_name: name.into(),
        client_reference: reference.into(),
        ..ImportClient::default()
    };
    Line::of(
        "imp_1",
        &failure,
        &ImportRecord { record: Some(Record::Client(client)), ..Default::default() },
    )
}

/// Reads the file as a client does: removes the prefix of guarded cells and unescapes
/// escaped cells.
fn read(file: &[u8]) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(file);
    let unguard = |mut row: HashMap<String, String>| {
        let guarded = row.remove(GUARDED).unwrap();
        for column in guarded.split(';').filter(|column| !column.is_empty()) {
            let cell = row.get_mut(column).unwrap();
            *cell = cell.strip_prefix('\'').unwrap().to_owned();
        }
        let escaped = row.remove(ESCAPED).unwrap();
        for column in escaped.split(';').filter(|column| !column.is_empty()) {
            let cell = row.get_mut(column).unwrap();
            *cell = list_cell::unescape_control(cell);
        }
        row
    };
    reader.deserialize().map(|row| unguard(row.unwrap())).collect()
}

#[test]
fn empty_file_has_a_header_row() {
    let file = Csv::new().take();
    assert_eq!(file, format!("\u{feff}{}\n", COLUMNS.join(",")));
}

#[test]
fn blocked_record_is_written_as_failed_with_all_fields() {
    let mut csv = Csv::new();
    csv.write(&line("=HYPERLINK(\"x\")", "")).unwrap();
    let file = csv.take();
    let text = std::str::from_utf8(&file).unwrap();
    assert!(text.contains("\"'=HYPERLINK(\"\"x\"\")\""));
    assert!(text.contains("record_name;registered_name"));
    let rows = read(&file);
    assert_eq!(rows[0]["status"], "failed");
    assert_eq!(rows[0]["registered_name"], "=HYPERLINK(\"x\")");
    assert_eq!((rows[0]["row"].as_str(), rows[0]["batch"].as_str()), ("7", "b-1"));
    assert_eq!(rows[0]["import"], "imp_1");
    assert_eq!(rows[0]["token"], RowId { batch: 1, row: 7 }.token("imp_1").as_str());
}

#[test]
fn byte_order_mark_and_header_are_written_once() {
    let mut csv = Csv::new();
    csv.write(&line("A", "")).unwrap();
    let mut file = csv.take().to_vec();
    csv.write(&line("B", "")).unwrap();
    file.extend(csv.take());
    assert_eq!(read(&file).len(), 2);
    let text = std::str::from_utf8(&file).unwrap();
    assert_eq!((text.starts_with('\u{feff}'), text.matches('\u{feff}').count()), (true, 1));
}

proptest! {
    #[test]
    fn cells_are_formula_safe_and_round_trip(
        name in "['=+@\\-＝＋－＠\t\ra\",\n\u{1b}\u{7f}\u{9b}\\\\]{0,6}",
        reference in "['=+@\\-\t\ra\",\n]{0,6}",
    ) {
        let mut csv = Csv::new();
        csv.write(&line(&name, &reference)).unwrap();
        let file = csv.take();
        let mut reader = csv::Reader::from_reader(&*file);
        for row in reader.records() {
            for cell in &row.unwrap() {
                prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
                prop_assert!(!cell.starts_with(['＝', '＋', '－', '＠']));
                let control = ['\u{1b}', '\u{7f}', '\u{9b}'];
                prop_assert!(!cell.contains(control));
            }
        }
        let rows = read(&file);
        prop_assert_eq!(&rows[0]["registered_name"], &name);
        prop_assert_eq!(&rows[0]["client_reference"], &reference);
    }
}
