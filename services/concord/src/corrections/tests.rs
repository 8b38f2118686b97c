use std::fs;

use proptest::prelude::*;
use prost::Message as _;
use shared::{
    pb::imports::{ImportClient, ImportRecord, import_record::Record as WireRecord},
    row_token::RowPlace,
};

use super::*;
use crate::csv_source::{failed_rows, rows_of};

/// The cells of a row.
type Cells = Vec<(&'static str, String)>;

fn token(row: i64) -> String {
    RowToken::of("imp_1", RowPlace { batch: 1, row }).to_string()
}

/// A client of a row of the import that failed, with these cells besides.
fn client(row: i64, cells: &[(&'static str, &str)]) -> Cells {
    // The first of two cells of one column counts.
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

fn found(original: &[Cells], corrected: &[Cells]) -> anyhow::Result<Corrections> {
    compare("imp_1", &rows(original), &rows(corrected))
}

fn refused(original: &[Cells], corrected: &[Cells]) -> String {
    found(original, corrected).unwrap_err().to_string()
}

fn decoded(replacement: &Replacement) -> ImportClient {
    match ImportRecord::decode(replacement.record.clone()).unwrap().record {
        Some(WireRecord::Client(client)) => client,
        other => panic!("{other:?}"),
    }
}

/// The names of the changed clients, sorted.
fn changed(original: &[Cells], corrected: &[Cells]) -> Vec<String> {
    let changed = found(original, corrected).unwrap().changed;
    let mut names: Vec<_> = changed.iter().map(|row| decoded(row).registered_name).collect();
    names.sort();
    names
}

/// The reports on rewritten cells, without the folder of the file, sorted.
fn told(corrections: &Corrections) -> Vec<String> {
    let text = |cell: &Rewritten| cell.to_string().split_once("failures.csv").unwrap().1.to_owned();
    let mut told: Vec<_> = corrections.rewritten.iter().map(text).collect();
    told.sort();
    told
}

#[test]
fn of_the_rows_of_a_record_the_changed_one_counts() {
    let original = [named(1, "a"), named(1, "a"), named(2, "b")];
    let corrected = [named(2, "b"), named(1, "a"), named(1, "new")];
    assert_eq!(changed(&original, &corrected), ["new"]);
    assert_eq!(changed(&original, &[named(1, "new"), named(1, "new")]), ["new"]);
    assert!(changed(&original, &original).is_empty());
}

#[test]
fn rows_of_one_record_are_put_together_cell_by_cell() {
    let was = client(1, &[("registered_name", ""), ("utr", "1"), ("phone", "1-2")]);
    let one = client(1, &[("registered_name", "Acme"), ("utr", "1"), ("phone", "01-Feb")]);
    let other = client(1, &[("registered_name", ""), ("utr", ""), ("phone", "1-2")]);
    let corrections = found(&[was.clone(), was], &[one, other]).unwrap();
    assert_eq!(corrections.changed.len(), 1);
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.registered_name, &*sent.utr, &*sent.phone), ("Acme", "", "1-2"));
    assert_eq!(told(&corrections), [", line 2, phone: `1-2` has become `01-Feb`"]);
}

#[test]
fn all_conflicts_of_rows_are_listed_at_once() {
    let original = [named(1, "a"), named(2, "b")];
    let corrected = [named(1, "one"), named(2, "two"), named(1, "other"), named(2, "another")];
    let text = refused(&original, &corrected);
    for told in [
        "line 4, registered_name: the rows of client C1 differ: `other` here, and `one` in ",
        "line 5, registered_name: the rows of client C2 differ: `another` here, and `two` in ",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn records_of_one_source_id_are_told_apart_by_their_tokens() {
    let same = |row, name: &str| client(row, &[("source_id", "C1"), ("registered_name", name)]);
    let original = [same(1, "a"), same(2, "b")];
    assert!(changed(&original, &original).is_empty());
    let corrections = found(&original, &[same(2, "new"), same(1, "a")]).unwrap();
    let record = ImportRecord::decode(corrections.changed[0].record.clone()).unwrap();
    assert_eq!((corrections.changed.len(), record.replaces), (1, token(2)));
}

#[test]
fn rows_without_their_token_are_all_refused_with_their_lines() {
    let original = [named(1, "a"), named(2, "b"), named(3, "c")];
    let mut altered = token(2);
    altered.replace_range(13.., if altered.ends_with('X') { "W" } else { "X" });
    let row = |token: &str| client(2, &[("token", token), ("registered_name", "new")]);
    let foreign = RowToken::of("imp_2", RowPlace { batch: 1, row: 1 }).to_string();
    let text = refused(&original, &[row(""), named(1, "a"), row(&altered), row(&foreign)]);
    assert!(text.starts_with("nothing was sent, because of the corrected file:\n"), "{text}");
    for told in [
        "line 2, token: it is missing".to_owned(),
        format!("line 4, token: `{altered}` was altered"),
        format!("line 5, token: `{foreign}` is not a token of imp_1"),
    ] {
        assert!(text.contains(&told), "{told}: {text}");
    }
    // Letter case and blanks are nothing.
    let typed = format!(" {} ", token(1).to_lowercase());
    let typed = client(1, &[("token", &typed), ("registered_name", "new")]);
    assert_eq!(changed(&original, &[typed]), ["new"]);
}

/// The rows of the service's file of clients with these names, with quotes typed into it
/// at these places, and how many rows it has.
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
fn a_quote_that_swallows_rows_is_refused_with_its_line_and_column() {
    let (one, other) = (token(1), token(2));
    // A quote before the name of the first row, and one behind that of the second.
    let value = format!("Big Ltd,,,\nfailed,error,client,{other},,,Four Ltd");
    let joined = client(1, &[("registered_name", &value), ("trading_name", "x")]);
    let original = [named(1, "Big Ltd"), named(2, "Four Ltd"), named(3, "c")];
    let text = refused(&original, &[named(3, "new"), joined]);
    let told =
        "line 3, registered_name: a quote is opened in this value, and closed in a later row";
    assert!(text.contains(told) && text.contains("is taken out"), "{text}");
    // In the column of the token itself, and in one that is no part of the record.
    let in_token = client(1, &[("token", &format!("{one},,\nfailed,{other}"))]);
    assert!(refused(&original, &[in_token]).contains("line 2, token: a quote is opened"));
    let in_name = client(1, &[("record_name", &format!("x,{one}\r\nfailed,client,y"))]);
    assert!(refused(&original, &[in_name]).contains("line 2, record_name: a quote is opened"));
}

#[test]
fn a_value_may_have_several_lines_and_a_token_may_be_noted_elsewhere() {
    let original = [named(1, "a"), named(2, "b")];
    let lines = "Unit 9,\n1 Quay,Leeds,West Yorkshire,LS1 1AA,UK";
    assert_eq!(changed(&original, &[named(1, lines)]), [lines]);
    let noted = client(1, &[("registered_name", "new"), ("root_cause", &token(2))]);
    assert_eq!(changed(&original, &[noted]), ["new"]);
    // A record that has such a value, as it is.
    let own = format!("x\n{}", token(2));
    let original = [named(1, &own), named(2, "b")];
    assert_eq!(changed(&original, &[named(1, &own), named(2, "new")]), ["new"]);
}

proptest! {
    /// Stray quotes of people join no rows of a corrected file.
    #[test]
    fn stray_quotes_swallow_no_row_of_a_corrected_file(
        names in prop::collection::vec("[ab][ab ,\n0-9]{0,9}", 1..5),
        quotes in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
    ) {
        if let Ok(rows) = with_quotes(&names, &quotes) {
            prop_assert_eq!(rows, names.len());
        }
    }
}

#[test]
fn an_id_that_differs_is_a_correction_only_when_it_is_marked() {
    let original = [client(1, &[("source_id", "C1")]), client(2, &[("source_id", "1.10")])];
    let row = |id: &str, mark: &str| client(1, &[("source_id", id), ("changed", mark)]);
    let text = refused(&original, &[row("C9", ""), client(2, &[("source_id", "")])]);
    for told in [
        "line 2, source_id: `C1` has become `C9`. If that is what you want, write `source_id` into \
         the column `changed`",
        "line 3, source_id: `1.10` has become ``",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let corrections = found(&original, &[row("C9", "source_id")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).source_id, "C9");
    let text = refused(&original, &[row("C9", "yes")]);
    assert!(text.contains("line 2, changed: here stand the names of columns"), "{text}");
    // A spreadsheet would have made it of the original; unless somebody says so.
    let shortened = |mark| client(2, &[("source_id", "1.1"), ("changed", mark)]);
    let corrections = found(&original, &[shortened("")]).unwrap();
    assert!(corrections.changed.is_empty());
    assert_eq!(told(&corrections), [", line 2, source_id: `1.10` has become `1.1`"]);
    let corrections = found(&original, &[shortened("source_id")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).source_id, "1.1");
}

#[test]
fn a_record_without_a_source_id_can_be_given_one() {
    let original = [client(1, &[("source_id", "")])];
    let corrections = found(&original, &[client(1, &[("source_id", "C9")])]).unwrap();
    let record = ImportRecord::decode(corrections.changed[0].record.clone()).unwrap();
    assert_eq!(record.replaces, token(1));
    assert_eq!(decoded(&corrections.changed[0]).source_id, "C9");
}

#[test]
fn a_token_beside_the_cells_of_another_record_is_refused() {
    let contact = client(2, &[("kind", "contact"), ("source_id", "P1")]);
    let original = [named(1, "a"), contact];
    // Somebody has sorted the column of the tokens alone.
    let moved = [client(2, &[("registered_name", "a")])];
    let text = refused(&original, &moved);
    assert!(
        text.contains("line 2, kind: the token is that of a row of the kind `contact`"),
        "{text}"
    );
}

/// A row of the file of the service, with what says where its record stands.
fn placed(row: i64, cells: &[(&'static str, &str)]) -> Cells {
    let place = row.to_string();
    client(row, &[cells, &[("batch", "b-1"), ("row", &*place)]].concat())
}

#[test]
fn a_token_beside_the_row_or_the_batch_of_another_record_is_refused() {
    // Ids that a spreadsheet may have made of each other.
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
    let text = refused(&original, &corrected);
    assert!(text.starts_with("nothing was sent"), "{text}");
    for (line, row, stands) in [(2, 2, 1), (3, 1, 2), (4, 4, 3), (5, 3, 4)] {
        let told = format!(
            "line {line}: the token is that of another row (batch b-1, row {row}), and this row \
             is batch b-1, row {stands}: put the token back, or write the file anew"
        );
        assert!(text.contains(&told), "{told}: {text}");
    }
    assert!(!text.contains("line 6"), "{text}");
    // The same row of another batch.
    let other = placed(1, &[("batch", "b-2"), ("registered_name", "new")]);
    let text = refused(&original, &[other]);
    assert!(text.contains("line 2: the token is that of another row (batch b-1, row 1)"), "{text}");
}

#[test]
fn the_row_and_the_batch_may_be_missing_or_written_by_a_spreadsheet() {
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
        let text = refused(&original, &[row(batch, place, "new")]);
        assert!(text.contains("line 2: the token is that of another row"), "{batch} {place}");
    }
}

#[test]
fn a_token_beside_the_name_of_another_record_is_refused() {
    let row = |row, name: &str, new: &str| {
        client(row, &[("record_name", name), ("registered_name", new), ("source_id", "1.1")])
    };
    let original = [row(1, "Ann", "a"), row(2, "Łukasz", "b"), row(3, "007", "c")];
    for (number, name) in
        [(2, "Ann"), (1, "Łukasz"), (1, "Lukasz"), (1, "?ukasz"), (1, "Å?ukasz"), (2, "7")]
    {
        let text = refused(&original, &[row(number, name, "new")]);
        let told = format!("the record_name `{name}` is that of ");
        assert!(text.contains("line 2: the token is that of another row"), "{text}");
        assert!(text.contains(&told), "{told}: {text}");
    }
    for (number, name) in [(1, "Ann"), (1, "Anne"), (2, "Lukasz"), (2, ""), (3, "7"), (3, "8")] {
        assert_eq!(changed(&original, &[row(number, name, "new")]), ["new"], "{number} {name}");
    }
}

#[test]
fn what_did_not_fail_is_left_out_and_what_is_not_there_is_named() {
    let skipped = |name| client(1, &[("status", "skipped"), ("registered_name", name)]);
    let original = [skipped("a"), named(2, "b")];
    let corrected = [skipped("a"), named(2, "b"), named(9, "c")];
    let corrections = found(&original, &corrected).unwrap();
    assert!(corrections.changed.is_empty() && corrections.not_failed.is_empty());
    assert_eq!(corrections.unknown, ["client C9"]);
    let corrections = found(&original, &[skipped("new")]).unwrap();
    assert!(corrections.changed.is_empty());
    assert_eq!(corrections.not_failed, ["client C1"]);
    let text = refused(&original, &[named(9, "c")]);
    assert!(text.contains("none of the records"), "{text}");
}

#[test]
fn a_warning_is_no_failure_and_its_row_may_stay_as_it_is() {
    let row = |row, severity, phone| {
        client(row, &[("severity", severity), ("phone", phone), ("registered_name", "a")])
    };
    let original = [row(1, "error", "x"), row(1, "warning", "x"), row(2, "warning", "x")];
    assert!(found(&original, &original).unwrap().changed.is_empty());
    // The record has failed, and is corrected in the row of its warning.
    let corrections = found(&original, &[row(1, "warning", "020 7946 0000")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).phone, "020 7946 0000");
    // It came in, but for what the warning says.
    let corrections = found(&original, &[row(2, "warning", "020 7946 0000")]).unwrap();
    assert_eq!((corrections.changed.len(), corrections.not_failed.len()), (0, 1));
}

#[test]
fn the_file_of_another_import_is_refused_by_name_of_both() {
    let row = |import| vec![client(1, &[("import", import)])];
    check_import("imp_1", &rows(&row("imp_1"))).unwrap();
    check_import("imp_1", &rows(&row(""))).unwrap();
    let text = check_import("imp_1", &rows(&row("imp_2"))).unwrap_err().to_string();
    assert!(
        text.contains("line 2: this row is of the failures file of imp_2, and imp_1"),
        "{text}"
    );
}

#[test]
fn what_a_spreadsheet_has_changed_is_the_original_and_is_told() {
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
    let untouched = found(std::slice::from_ref(&before), &[client(1, &saved)]).unwrap();
    assert!(untouched.changed.is_empty());
    assert_eq!(
        told(&untouched),
        [
            ", line 2, phone: `02079460000` has become `2079460000`",
            ", line 2, title: `DEC1` has become `01-Dec`",
            ", line 2, trading_name: `Séamus` has become `SÃ©amus`",
            ", line 2, utr: `0123456789` has become `123456789`",
        ]
    );
    let named = [&saved[..], &[("registered_name", "Acme")]].concat();
    let corrections = found(std::slice::from_ref(&before), &[client(1, &named)]).unwrap();
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.registered_name, &*sent.utr), ("Acme", "0123456789"));
    assert_eq!((&*sent.trading_name, &*sent.title), ("Séamus", "DEC1"));
    assert_eq!(told(&corrections).len(), 4);
    let remark = rewritten::remarks(&corrections.rewritten).unwrap();
    assert!(remark.contains("as text before you save") && remark.contains("UTF-8"), "{remark}");
    // What somebody means.
    let meant = [&saved[..], &[("changed", "utr; title")]].concat();
    let corrections = found(&[before], &[client(1, &meant)]).unwrap();
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.utr, &*sent.title, &*sent.phone), ("123456789", "01-Dec", "02079460000"));
    assert_eq!(told(&corrections).len(), 2);
}

#[test]
fn a_date_that_a_spreadsheet_has_rewritten_is_the_original() {
    let born = |date, name| client(1, &[("birth_date", date), ("registered_name", name)]);
    let original = [born("1980-03-01", "a")];
    let corrections = found(&original, &[born("01/03/1980", "new")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).birth_date, "1980-03-01");
    assert_eq!(told(&corrections), [", line 2, birth_date: `1980-03-01` has become `01/03/1980`"]);
    // Another day, which the service refuses with its own words.
    let other = found(&original, &[born("02/03/1980", "a")]).unwrap();
    assert_eq!(decoded(&other.changed[0]).birth_date, "02/03/1980");
}

#[test]
fn a_date_that_was_not_written_as_one_can_be_corrected() {
    let born = |date| client(1, &[("birth_date", date)]);
    let corrections = found(&[born("01/03/1980")], &[born("1980-03-01")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).birth_date, "1980-03-01");
}

#[test]
fn roles_and_clients_that_do_not_fit_are_told_with_their_line() {
    let contact = |ids: &str, roles: &str, mark| {
        let cells = [("client_source_id", ids), ("roles", roles), ("changed", mark)];
        client(1, &[&[("kind", "contact")], &cells[..]].concat())
    };
    let original = [contact("C1", "", "")];
    let text = refused(&original, &[contact("C1", "DIRECTOR|PSC", "")]);
    assert!(text.contains("line 2: 1 clients, and roles of 2"), "{text}");
    // Each in a row of its own.
    let rows = [contact("C1;C2", "", "client_source_id"), contact("C1", "DIRECTOR|PSC", "")];
    assert_eq!(found(&original, &rows).unwrap().changed.len(), 1);
}

proptest! {
    /// The token identifies the record, whatever the other cells contain.
    #[test]
    fn a_correction_reaches_the_record_of_its_row_alone(
        ids in prop::collection::vec("[0-9.]{0,3}", 2..6),
        at in any::<prop::sample::Index>(),
        id in "[0-9.]{0,3}",
    ) {
        let row = |row: i64, id: &str, name: &str| {
            client(row, &[("source_id", id), ("registered_name", name)])
        };
        let original: Vec<_> = (1..).zip(&ids).map(|(n, id)| row(n, id, "a")).collect();
        let at = at.index(ids.len());
        let place = i64::try_from(at).unwrap() + 1;
        let corrected = row(place, &id, "new");
        match found(&original, &[corrected]) {
            Ok(corrections) => {
                prop_assert_eq!(corrections.changed.len(), 1);
                let record = corrections.changed[0].record.clone();
                prop_assert_eq!(ImportRecord::decode(record).unwrap().replaces, token(place));
                let sent = decoded(&corrections.changed[0]);
                prop_assert_eq!(sent.registered_name, "new");
                prop_assert!(sent.source_id == ids[at] || ids[at].is_empty());
            }
            Err(error) => prop_assert!(error.to_string().contains("line 2, source_id: ")),
        }
    }
}
