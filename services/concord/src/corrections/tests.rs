use prost::Message as _;
use shared::pb::imports::{ImportClient, ImportRecord, import_record::Record};

use super::*;
use crate::csv_source::rows_of;

/// A client that failed, with these cells besides.
fn client<'c>(source_id: &'c str, cells: &[(&'c str, &'c str)]) -> Vec<(&'c str, &'c str)> {
    // The first of two cells of one column counts.
    let own = [("kind", "client"), ("source_id", source_id), ("status", "failed")];
    [cells, &own].concat()
}

fn rows(rows: &[Vec<(&str, &str)>]) -> Vec<FailedRow> {
    let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
    rows_of(false, &rows).unwrap().0
}

fn found(
    original: &[Vec<(&str, &str)>],
    corrected: &[Vec<(&str, &str)>],
) -> anyhow::Result<Corrections> {
    compare(&rows(original), &rows(corrected))
}

fn refused(original: &[Vec<(&str, &str)>], corrected: &[Vec<(&str, &str)>]) -> String {
    found(original, corrected).unwrap_err().to_string()
}

fn decoded(row: &FailedRow) -> ImportClient {
    match ImportRecord::decode(row.record.clone()).unwrap().record {
        Some(Record::Client(client)) => client,
        other => panic!("{other:?}"),
    }
}

/// The names of the changed clients.
fn changed(original: &[Vec<(&str, &str)>], corrected: &[Vec<(&str, &str)>]) -> Vec<String> {
    let changed = found(original, corrected).unwrap().changed;
    changed.iter().map(|row| decoded(row).registered_name).collect()
}

fn named<'c>(source_id: &'c str, name: &'c str) -> Vec<(&'c str, &'c str)> {
    client(source_id, &[("registered_name", name)])
}

/// What is told of rewritten cells, without the folder of the file.
fn told(corrections: &Corrections) -> Vec<String> {
    let text = |cell: &Rewritten| cell.to_string().split_once("failures.csv").unwrap().1.to_owned();
    corrections.rewritten.iter().map(text).collect()
}

#[test]
fn of_the_rows_of_a_record_the_changed_one_counts() {
    let original = [named("C1", "a"), named("C1", "a"), named("C2", "b")];
    let corrected = [named("C2", "b"), named("C1", "a"), named("C1", "new")];
    assert_eq!(changed(&original, &corrected), ["new"]);
    assert_eq!(changed(&original, &[named("C1", "new"), named("C1", "new")]), ["new"]);
    assert!(changed(&original, &original).is_empty());
}

#[test]
fn records_of_one_key_that_were_different_may_stay_so() {
    let original = [named("C1", "a"), named("C1", "b")];
    assert!(changed(&original, &original).is_empty());
}

#[test]
fn rows_that_were_changed_in_different_ways_are_named() {
    let text = refused(&[named("C1", "a")], &[named("C1", "one"), named("C1", "other")]);
    let begin = "the rows of client C1 differ: correct all of them alike, or only one (";
    assert!(text.starts_with(begin) && text.contains("line 2, and "), "{text}");
}

#[test]
fn what_did_not_fail_is_left_out_and_what_is_not_there_is_named() {
    let skipped = |name| client("C1", &[("status", "skipped"), ("registered_name", name)]);
    let original = [skipped("a"), named("C2", "b")];
    let corrected = [skipped("a"), named("C2", "b"), named("C9", "c")];
    let corrections = found(&original, &corrected).unwrap();
    assert!(corrections.changed.is_empty() && corrections.not_failed.is_empty());
    assert_eq!(corrections.unknown[0].to_string(), "client C9");
    let corrections = found(&original, &[skipped("new")]).unwrap();
    assert!(corrections.changed.is_empty());
    assert_eq!(corrections.not_failed[0].to_string(), "client C1");
    let text = refused(&original, &[named("C9", "c")]);
    assert!(text.contains("none of the records"), "{text}");
}

#[test]
fn the_file_of_another_import_is_refused_by_name_of_both() {
    let row = |import| vec![client("C1", &[("import", import)])];
    check_import("imp_1", &rows(&row("imp_1"))).unwrap();
    check_import("imp_1", &rows(&row(""))).unwrap();
    let text = check_import("imp_1", &rows(&row("imp_2"))).unwrap_err().to_string();
    assert!(
        text.contains("line 2: this row is of the failures file of imp_2, and imp_1"),
        "{text}"
    );
}

#[test]
fn what_lost_its_zeros_gets_them_back_and_is_told() {
    let before = client("C1", &[("utr", "0123456789"), ("phone", "02079460000")]);
    let saved = [("utr", "123456789"), ("phone", "2079460000")];
    let untouched = found(std::slice::from_ref(&before), &[client("C1", &saved)]).unwrap();
    assert!(untouched.changed.is_empty());
    assert_eq!(
        told(&untouched),
        [
            ", line 2, phone: `02079460000` has become `2079460000`",
            ", line 2, utr: `0123456789` has become `123456789`"
        ]
    );
    let named = [&saved[..], &[("registered_name", "Acme")]].concat();
    let corrections = found(&[before], &[client("C1", &named)]).unwrap();
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.registered_name, &*sent.utr), ("Acme", "0123456789"));
    assert_eq!(told(&corrections).len(), 2);
    let remarks = rewritten::remarks(&corrections.rewritten);
    assert!(remarks.len() == 1 && remarks[0].contains("as text before you save"), "{remarks:?}");
}

#[test]
fn a_source_id_that_lost_its_zeros_is_that_of_the_one_that_fits() {
    let original = [named("007", "a"), named("C2", "b")];
    let corrections = found(&original, &[named("7", "new"), named("C2", "b")]).unwrap();
    let sent = decoded(&corrections.changed[0]);
    assert_eq!((&*sent.source_id, &*sent.registered_name), ("007", "new"));
    assert_eq!(corrections.changed[0].key.source_id, "007");
    assert_eq!(told(&corrections), [", line 2, source_id: `007` has become `7`"]);
    // And one that was never there.
    let corrections = found(&original, &[named("8", "new"), named("C2", "b")]).unwrap();
    assert_eq!(corrections.unknown[0].source_id, "8");
}

#[test]
fn a_long_source_id_that_lost_its_digits_is_found_too() {
    let original = [named("1234567890123", "a"), named("1300000000000", "b")];
    let corrections = found(&original, &[named("1.23457E+12", "new")]).unwrap();
    assert_eq!(decoded(&corrections.changed[0]).source_id, "1234567890123");
}

#[test]
fn source_ids_that_a_spreadsheet_makes_equal_are_told_apart_or_refused() {
    let at = |source_id, name, row| client(source_id, &[("registered_name", name), ("row", row)]);
    let original = [at("007", "a", "1"), at("07", "b", "2"), at("7", "c", "3")];
    let placed = [at("7", "a", "1"), at("7", "new", "2"), at("7", "c", "3")];
    let corrections = found(&original, &placed).unwrap();
    assert_eq!(corrections.changed.len(), 1);
    assert_eq!(decoded(&corrections.changed[0]).source_id, "07");
    let text = refused(&original, &[at("7", "a", ""), at("7", "new", "")]);
    let several = "line 2: the source id `7` may be that of client 7 or client 007 or client 07";
    assert!(text.contains(several), "{text}");
    // They are in the file as they were: nothing was lost.
    let whole = [at("007", "a", ""), at("07", "b", ""), at("7", "new", "")];
    assert_eq!(changed(&original, &whole), ["new"]);
}

#[test]
fn a_date_that_was_rewritten_is_no_correction_and_never_guessed_at() {
    let born = |date, name| client("C1", &[("birth_date", date), ("registered_name", name)]);
    let original = [born("1980-03-01", "a")];
    let untouched = found(&original, &[born("01/03/1980", "a")]).unwrap();
    assert!(untouched.changed.is_empty());
    let remarks = rewritten::remarks(&untouched.rewritten);
    assert!(remarks.len() == 1 && remarks[0].contains("tried again as they were"), "{remarks:?}");
    let text = refused(&original, &[born("01/03/1980", "new")]);
    let line = "line 2, birth_date: `1980-03-01` has become `01/03/1980`";
    assert!(text.contains("nothing was sent: write them as 2026-03-01"), "{text}");
    assert!(text.ends_with(line), "{text}");
    // Another day, which the service refuses with its own words.
    let other = found(&original, &[born("02/03/1980", "a")]).unwrap();
    assert_eq!(decoded(&other.changed[0]).birth_date, "02/03/1980");
}
