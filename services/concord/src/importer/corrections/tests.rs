use std::fs;

use concord_core::row_token::RowPosition;
use concord_proto::pb::imports::{ImportClient, ImportRecord, import_record::Record as WireRecord};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::importer::csv_source::{failed_rows, rows_of};

/// The cells of a row.
type Cells = Vec<(&'static str, String)>;

fn token(row: i64) -> String {
    RowToken::of("imp_1", RowPosition { batch: 1, row }).to_string()
}

/// The row of a failed client with these cells.
fn client(row: i64, cells: &[(&'static str, &str)]) -> Cells {
    // The first of two cells of one column takes precedence.
    let (token, source_id) = (token(row), format!("C{row}"));
    let own = [("token", &*token), ("kind", "client"), ("status", "failed")];
    let all = [cells, &own, &[("source_id", &*source_id)]].concat();
    all.into_iter().map(|(column, value)| (column, value.to_owned())).collect()
}

fn named(row: i64, name: &str) -> Cells {
    client(row, &[("registered_name", name)])
}

fn rows(rows: &[Cells]) -> Vec<FailedRow> {
    let cells = |row: &Cells| row.iter().map(|(column, value)| (*column, value.clone())).collect();
    let rows: Vec<Cells> = rows.iter().map(cells).collect();
    let rows: Vec<Vec<(&str, &str)>> = rows
        .iter()
        .map(|row| row.iter().map(|(column, value)| (*column, &**value)).collect())
        .collect();
    rows_of(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
}

fn compared(original: &[Cells], corrected: &[Cells]) -> anyhow::Result<Corrections> {
    compare("imp_1", &rows(original), &rows(corrected))
}

fn rejected(original: &[Cells], corrected: &[Cells]) -> String {
    compared(original, corrected).unwrap_err().to_string()
}

fn decoded(replacement: &Replacement) -> ImportClient {
    match ImportRecord::decode(replacement.record.clone()).unwrap().record {
        Some(WireRecord::Client(client)) => client,
        other => panic!("{other:?}"),
    }
}

/// The names of the changed clients, sorted.
fn changed(original: &[Cells], corrected: &[Cells]) -> Vec<String> {
    let changed = compared(original, corrected).unwrap().changed;
    let mut names: Vec<_> = changed.iter().map(|row| decoded(row).registered_name).collect();
    names.sort();
    names
}

/// The reports on converted cells, without the folder of the file, sorted.
fn reported(corrections: &Corrections) -> Vec<String> {
    let text =
        |cell: &RewrittenCell| cell.to_string().split_once("failures.csv").unwrap().1.to_owned();
    let mut reported: Vec<_> = corrections.rewritten.iter().map(text).collect();
    reported.sort();
    reported
}

#[test]
fn changed_row_of_a_record_takes_precedence() {
    let original = [named(1, "a"), named(1, "a"), named(2, "b")];
    let corrected = [named(2, "b"), named(1, "a"), named(1, "new")];
    assert_eq!(changed(&original, &corrected), ["new"]);
    assert_eq!(changed(&original, &[named(1, "new"), named(1, "new")]), ["new"]);
    assert!(changed(&original, &original).is_empty());
}

#[test]
fn rows_of_one_record_are_merged_cell_by_cell() {
    let was = client(1, &[("registered_name", ""), ("utr", "1"), ("phone", "1-2")]);
    let one = client(1, &[("registered_name", "Acme"), ("utr", "1"), ("phone", "01-Feb")]);
    let other = client(1, &[("registered_name", ""), ("utr", ""), ("phone", "1-2")]);
    let corrections = compared(&[was.clone(), was], &[one, other]).unwrap();
    assert_eq!(corrections.changed.len(), 1);
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.registered_name, &*sent.utr, &*sent.phone), ("Acme", "", "1-2"));
    assert_eq!(reported(&corrections), [", line 2, phone: `1-2` was changed to `01-Feb`"]);
}

#[test]
fn all_conflicting_rows_are_listed() {
    let original = [named(1, "a"), named(2, "b")];
    let corrected = [named(1, "one"), named(2, "two"), named(1, "other"), named(2, "another")];
    let text = rejected(&original, &corrected);
    for expected in [
        "line 4, registered_name: the rows of client C1 differ: `other` here, and `one` in ",
        "line 5, registered_name: the rows of client C2 differ: `another` here, and `two` in ",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn records_with_equal_source_ids_are_distinguished_by_token() {
    let same = |row, name: &str| client(row, &[("source_id", "C1"), ("registered_name", name)]);
    let original = [same(1, "a"), same(2, "b")];
    assert!(changed(&original, &original).is_empty());
    let corrections = compared(&original, &[same(2, "new"), same(1, "a")]).unwrap();
    let record = ImportRecord::decode(corrections.changed[0].record.clone()).unwrap();
    assert_eq!((corrections.changed.len(), record.replaces), (1, token(2)));
}

#[test]
fn rows_without_valid_token_are_listed_with_their_lines() {
    let original = [named(1, "a"), named(2, "b"), named(3, "c")];
    let mut altered = token(2);
    altered.replace_range(13.., if altered.ends_with('X') { "W" } else { "X" });
    let row = |token: &str| client(2, &[("token", token), ("registered_name", "new")]);
    let foreign = RowToken::of("imp_2", RowPosition { batch: 1, row: 1 }).to_string();
    let text = rejected(&original, &[row(""), named(1, "a"), row(&altered), row(&foreign)]);
    assert!(text.starts_with("nothing was sent, because of the corrected file:\n"), "{text}");
    for expected in [
        "line 2, token: it is missing".to_owned(),
        format!("line 4, token: `{altered}` was altered"),
        format!("line 5, token: `{foreign}` is not a token of imp_1"),
    ] {
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    // Letter case and blanks are ignored.
    let typed = format!(" {} ", token(1).to_lowercase());
    let typed = client(1, &[("token", &typed), ("registered_name", "new")]);
    assert_eq!(changed(&original, &[typed]), ["new"]);
}

/// Compares a failures file of clients with these names with the same file after inserting
/// stray quotes. Returns its number of rows.
fn with_quotes(names: &[String], quotes: &[prop::sample::Index]) -> Result<usize, String> {
    let records = (1..).zip(names).map(|(row, name)| ImportRecord {
        record: Some(WireRecord::Client(ImportClient {
            source_id: format!("C{row}"),
            registered_name: name.clone(),
            ..ImportClient::default()
        })),
        ..ImportRecord::default()
    });
    let mut file = imports::testing::failures_file("imp_1", records);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failures.csv");
    fs::write(&path, &file).unwrap();
    let original = failed_rows(&path).unwrap();
    // Below the heading.
    let begin = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for quote in quotes {
        file.insert(begin + quote.index(file.len() - begin), b'"');
    }
    fs::write(&path, &file).unwrap();
    let corrected = failed_rows(&path).map_err(|error| error.to_string())?;
    compare("imp_1", &original, &corrected).map_err(|error| error.to_string())?;
    Ok(corrected.len())
}

#[test]
fn stray_quote_over_rows_error_has_line_and_column() {
    let (one, other) = (token(1), token(2));
    // A quote before the name of the first row, and one after that of the second.
    let value = format!("Big Ltd,,,\nfailed,error,client,{other},,,Four Ltd");
    let joined = client(1, &[("registered_name", &value), ("trading_name", "x")]);
    let original = [named(1, "Big Ltd"), named(2, "Four Ltd"), named(3, "c")];
    let text = rejected(&original, &[named(3, "new"), joined]);
    let expected =
        "line 3, registered_name: a quote is opened in this value, and closed in a later row";
    assert!(text.contains(expected) && text.contains("Remove a quote"), "{text}");
    // In the token column, and in a column that is not part of the record.
    let in_token = client(1, &[("token", &format!("{one},,\nfailed,{other}"))]);
    assert!(rejected(&original, &[in_token]).contains("line 2, token: a quote is opened"));
    let in_name = client(1, &[("record_name", &format!("x,{one}\r\nfailed,client,y"))]);
    assert!(rejected(&original, &[in_name]).contains("line 2, record_name: a quote is opened"));
}

#[test]
fn multiline_values_and_tokens_in_other_columns_are_accepted() {
    let original = [named(1, "a"), named(2, "b")];
    let lines = "Unit 9,\n1 Quay,Leeds,West Yorkshire,LS1 1AA,UK";
    assert_eq!(changed(&original, &[named(1, lines)]), [lines]);
    let noted = client(1, &[("registered_name", "new"), ("root_cause", &token(2))]);
    assert_eq!(changed(&original, &[noted]), ["new"]);
    // The record itself has such a value.
    let own = format!("x\n{}", token(2));
    let original = [named(1, &own), named(2, "b")];
    assert_eq!(changed(&original, &[named(1, &own), named(2, "new")]), ["new"]);
}

proptest! {
    /// Stray quotes never merge rows of a corrected file unnoticed.
    #[test]
    fn stray_quotes_never_merge_rows(
        names in prop::collection::vec("[ab][ab ,\n0-9]{0,9}", 1..5),
        quotes in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
    ) {
        if let Ok(rows) = with_quotes(&names, &quotes) {
            prop_assert_eq!(rows, names.len());
        }
    }
}

#[test]
fn changed_id_requires_a_mark() {
    let original = [client(1, &[("source_id", "C1")]), client(2, &[("source_id", "1.10")])];
    let row = |id: &str, mark: &str| client(1, &[("source_id", id), ("changed", mark)]);
    let text = rejected(&original, &[row("C9", ""), client(2, &[("source_id", "")])]);
    for expected in [
        "line 2, source_id: `C1` was changed to `C9`. If this is intended, write `source_id` into \
         the column `changed`",
        "line 3, source_id: `1.10` was changed to ``",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let corrections = compared(&original, &[row("C9", "source_id")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).source_id, "C9");
    let text = rejected(&original, &[row("C9", "yes")]);
    assert!(text.contains("line 2, changed: this column takes names of columns"), "{text}");
    // A conversion by a spreadsheet counts only when it is marked.
    let shortened = |mark| client(2, &[("source_id", "1.1"), ("changed", mark)]);
    let corrections = compared(&original, &[shortened("")]).unwrap();
    assert!(corrections.changed.is_empty());
    assert_eq!(reported(&corrections), [", line 2, source_id: `1.10` was changed to `1.1`"]);
    let corrections = compared(&original, &[shortened("source_id")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).source_id, "1.1");
}

#[test]
fn blank_source_id_can_be_set() {
    let original = [client(1, &[("source_id", "")])];
    let corrections = compared(&original, &[client(1, &[("source_id", "C9")])]).unwrap();
    let record = ImportRecord::decode(corrections.changed[0].record.clone()).unwrap();
    assert_eq!(record.replaces, token(1));
    assert_eq!(decoded(&corrections.changed[0]).source_id, "C9");
}

#[test]
fn token_of_another_kind_of_record_is_rejected() {
    let contact = client(2, &[("kind", "contact"), ("source_id", "P1")]);
    let original = [named(1, "a"), contact];
    // Only the token column was sorted.
    let moved = [client(2, &[("registered_name", "a")])];
    let text = rejected(&original, &moved);
    assert!(
        text.contains("line 2, kind: the token is that of a row of the kind `contact`"),
        "{text}"
    );
}

/// A row of the file of the service, with batch and row number.
fn placed(row: i64, cells: &[(&'static str, &str)]) -> Cells {
    let place = row.to_string();
    client(row, &[cells, &[("batch", "b-1"), ("row", &*place)]].concat())
}

#[test]
fn token_with_another_row_or_batch_is_rejected() {
    // Ids that a spreadsheet may convert into each other.
    let ids = ["1.1", "1.10", "100000000000", "1E+11"];
    let row = |row, id: &str, name: &str| {
        placed(row, &[("source_id", id), ("record_name", name), ("registered_name", name)])
    };
    let original: Vec<_> = (1..).zip(ids).map(|(n, id)| row(n, id, "a")).collect();
    let moved = |at: i64, of: i64, id: &str| {
        let (of, at) = (token(of), at.to_string());
        client(
            1,
            &[
                ("token", &*of),
                ("row", &*at),
                ("batch", "b-1"),
                ("source_id", id),
                ("registered_name", "new"),
            ],
        )
    };
    let corrected = [
        moved(1, 2, ids[0]),
        moved(2, 1, ids[1]),
        moved(3, 4, ids[2]),
        moved(4, 3, ids[3]),
        moved(4, 4, ids[3]),
    ];
    let text = rejected(&original, &corrected);
    assert!(text.starts_with("nothing was sent"), "{text}");
    for (line, row, actual) in [(2, 2, 1), (3, 1, 2), (4, 4, 3), (5, 3, 4)] {
        let expected = format!(
            "line {line}: the token is that of another row (batch b-1, row {row}), and this row \
             is batch b-1, row {actual}: restore the token, or write the file again"
        );
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    assert!(!text.contains("line 6"), "{text}");
    // The same row of another batch.
    let other = placed(1, &[("batch", "b-2"), ("registered_name", "new")]);
    let text = rejected(&original, &[other]);
    assert!(text.contains("line 2: the token is that of another row (batch b-1, row 1)"), "{text}");
}

#[test]
fn missing_or_converted_row_and_batch_are_accepted() {
    let row =
        |batch, row, name| client(5, &[("batch", batch), ("row", row), ("registered_name", name)]);
    let original = [row("1.10", "5", "a")];
    for (batch, place) in [
        ("1.10", "5"),
        ("1.1", "5.0"),
        (" 1.10 ", " 5 "),
        ("1,1", "5,00"),
        ("01. Okt", "##"),
        ("", ""),
    ] {
        assert_eq!(changed(&original, &[row(batch, place, "new")]), ["new"], "{batch} {place}");
    }
    for (batch, place) in [("1.2", "5"), ("1.10", "50"), ("1.10", "x"), ("", "6")] {
        let text = rejected(&original, &[row(batch, place, "new")]);
        assert!(text.contains("line 2: the token is that of another row"), "{batch} {place}");
    }
}

#[test]
fn token_with_the_name_of_another_record_is_rejected() {
    let row = |row, name: &str, new: &str| {
        client(row, &[("record_name", name), ("registered_name", new), ("source_id", "1.1")])
    };
    let original = [row(1, "Ann", "a"), row(2, "Łukasz", "b"), row(3, "007", "c")];
    for (number, name) in
        [(2, "Ann"), (1, "Łukasz"), (1, "Lukasz"), (1, "?ukasz"), (1, "Å?ukasz"), (2, "7")]
    {
        let text = rejected(&original, &[row(number, name, "new")]);
        let expected = format!("the record_name `{name}` is that of ");
        assert!(text.contains("line 2: the token is that of another row"), "{text}");
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    for (number, name) in [(1, "Ann"), (1, "Anne"), (2, "Lukasz"), (2, ""), (3, "7"), (3, "8")] {
        assert_eq!(changed(&original, &[row(number, name, "new")]), ["new"], "{number} {name}");
    }
}

#[test]
fn records_that_did_not_fail_or_are_unknown_are_reported() {
    let skipped = |name| client(1, &[("status", "skipped"), ("registered_name", name)]);
    let original = [skipped("a"), named(2, "b")];
    let corrected = [skipped("a"), named(2, "b"), named(9, "c")];
    let corrections = compared(&original, &corrected).unwrap();
    assert!(corrections.changed.is_empty() && corrections.not_failed.is_empty());
    assert_eq!(corrections.unknown, ["client C9"]);
    let corrections = compared(&original, &[skipped("new")]).unwrap();
    assert!(corrections.changed.is_empty());
    assert_eq!(corrections.not_failed, ["client C1"]);
    let text = rejected(&original, &[named(9, "c")]);
    assert!(text.contains("none of the records"), "{text}");
}

#[test]
fn unchanged_warning_row_is_accepted() {
    let row = |row, severity, phone| {
        client(row, &[("severity", severity), ("phone", phone), ("registered_name", "a")])
    };
    let original = [row(1, "error", "x"), row(1, "warning", "x"), row(2, "warning", "x")];
    assert!(compared(&original, &original).unwrap().changed.is_empty());
    // The record failed, and is corrected in the row of its warning.
    let corrections = compared(&original, &[row(1, "warning", "020 7946 0000")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).phone, "020 7946 0000");
    // The record was imported with a warning.
    let corrections = compared(&original, &[row(2, "warning", "020 7946 0000")]).unwrap();
    assert_eq!((corrections.changed.len(), corrections.not_failed.len()), (0, 1));
}

#[test]
fn file_of_another_import_error_names_both_imports() {
    let row = |import| vec![client(1, &[("import", import)])];
    check_import("imp_1", &rows(&row("imp_1"))).unwrap();
    check_import("imp_1", &rows(&row(""))).unwrap();
    let text = check_import("imp_1", &rows(&row("imp_2"))).unwrap_err().to_string();
    assert!(
        text.contains("line 2: this row is from the failures file of imp_2, and imp_1"),
        "{text}"
    );
}

#[test]
fn converted_cells_are_reported_and_keep_the_original_value() {
    let before = client(
        1,
        &[
            ("utr", "0123456789"),
            ("phone", "02079460000"),
            ("trading_name", "Séamus"),
            ("title", "DEC1"),
        ],
    );
    let saved = [
        ("utr", "123456789"),
        ("phone", "2079460000"),
        ("trading_name", "SÃ©amus"),
        ("title", "01-Dec"),
    ];
    let untouched = compared(std::slice::from_ref(&before), &[client(1, &saved)]).unwrap();
    assert!(untouched.changed.is_empty());
    assert_eq!(
        reported(&untouched),
        [
            ", line 2, phone: `02079460000` was changed to `2079460000`",
            ", line 2, title: `DEC1` was changed to `01-Dec`",
            ", line 2, trading_name: `Séamus` was changed to `SÃ©amus`",
            ", line 2, utr: `0123456789` was changed to `123456789`",
        ]
    );
    let named = [&saved[..], &[("registered_name", "Acme")]].concat();
    let corrections = compared(std::slice::from_ref(&before), &[client(1, &named)]).unwrap();
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.registered_name, &*sent.utr), ("Acme", "0123456789"));
    assert_eq!((&*sent.trading_name, &*sent.title), ("Séamus", "DEC1"));
    assert_eq!(reported(&corrections).len(), 4);
    let remark = rewritten_cell::remarks(&corrections.rewritten).unwrap();
    assert!(remark.contains("as text before you save") && remark.contains("UTF-8"), "{remark}");
    // Marked as intended.
    let meant = [&saved[..], &[("changed", "utr; title")]].concat();
    let corrections = compared(&[before], &[client(1, &meant)]).unwrap();
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.utr, &*sent.title, &*sent.phone), ("123456789", "01-Dec", "02079460000"));
    assert_eq!(reported(&corrections).len(), 2);
}

#[test]
fn converted_date_keeps_the_original_value() {
    let born = |date, name| client(1, &[("birth_date", date), ("registered_name", name)]);
    let original = [born("1980-03-01", "a")];
    let corrections = compared(&original, &[born("01/03/1980", "new")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).birth_date, "1980-03-01");
    assert_eq!(
        reported(&corrections),
        [", line 2, birth_date: `1980-03-01` was changed to `01/03/1980`"]
    );
    // Another day in an invalid format: the service rejects it.
    let other = compared(&original, &[born("02/03/1980", "a")]).unwrap();
    assert_eq!(decoded(&other.changed[0]).birth_date, "02/03/1980");
}

#[test]
fn invalid_date_can_be_corrected() {
    let born = |date| client(1, &[("birth_date", date)]);
    let corrections = compared(&[born("01/03/1980")], &[born("1980-03-01")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).birth_date, "1980-03-01");
}

#[test]
fn mismatched_clients_and_roles_error_has_the_line() {
    let contact = |ids: &str, roles: &str, mark| {
        let cells = [("client_source_id", ids), ("roles", roles), ("changed", mark)];
        client(1, &[&[("kind", "contact")], &cells[..]].concat())
    };
    let original = [contact("C1", "", "")];
    let text = rejected(&original, &[contact("C1", "DIRECTOR|PSC", "")]);
    assert!(text.contains("line 2: 1 clients, and roles of 2"), "{text}");
    // Each column changed in a separate row.
    let rows = [contact("C1;C2", "", "client_source_id"), contact("C1", "DIRECTOR|PSC", "")];
    assert_eq!(compared(&original, &rows).unwrap().changed.len(), 1);
}

proptest! {
    /// The token identifies the record, whatever the other cells contain.
    #[test]
    fn correction_applies_only_to_the_record_of_its_token(
        ids in prop::collection::vec("[0-9.]{0,3}", 2..6),
        at in any::<prop::sample::Index>(),
        id in "[0-9.]{0,3}",
    ) {
        let row = |row: i64, id: &str, name: &str| {
            client(row, &[("source_id", id), ("registered_name", name)])
        };
        let original: Vec<_> = (1..).zip(&ids).map(|(n, id)| row(n, id, "a")).collect();
        let at = at.index(ids.len());
        let number = i64::try_from(at).unwrap() + 1;
        let corrected = row(number, &id, "new");
        match compared(&original, &[corrected]) {
            Ok(corrections) => {
                prop_assert_eq!(corrections.changed.len(), 1);
                let record = corrections.changed[0].record.clone();
                prop_assert_eq!(ImportRecord::decode(record).unwrap().replaces, token(number));
                let sent = decoded(&corrections.changed[0]);
                prop_assert_eq!(sent.registered_name, "new");
                prop_assert!(sent.source_id == ids[at] || ids[at].is_empty());
            }
            Err(error) => prop_assert!(error.to_string().contains("line 2, source_id: ")),
        }
    }
}
