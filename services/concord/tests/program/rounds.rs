//! Dry runs, retries with corrections, and lists of imports.

use std::{fs, path::Path};

use concord_testing::e2e::importing;
use serde_json::Value;

use crate::running::{CommandOutput, Services, sample};

/// Runs a command, such as `imports list`.
pub(crate) fn run(services: &Services, name: &str, args: &[&str]) -> CommandOutput {
    CommandOutput::of(services.command(name, "manager").args(args))
}

/// The JSON output of a command.
pub(crate) fn answer(services: &Services, name: &str, args: &[&str]) -> Value {
    let output = run(services, name, &[args, &["--json"]].concat());
    assert!(output.status != 1, "{output:?}");
    output.json().remove(0)
}

/// Services with manager connected.
pub(crate) fn services() -> Services {
    Services::with(&["manager"])
}

/// Imports the sample. Returns the import id.
pub(crate) fn imported(services: &Services, more: &[&str]) -> String {
    let output = services.import("manager", &sample(), more);
    assert_eq!(output.status, 2, "{output:?}");
    text(&output.json()[0], "id")
}

pub(crate) fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap().to_owned()
}

pub(crate) fn count(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap()
}

/// A counter of an import.
pub(crate) fn counter(import: &Value, name: &str) -> i64 {
    count(&import["counters"], name)
}

/// Corrects cells of a failures file, and saves it as a spreadsheet does: with a byte order
/// mark, CRLF line ends, quotes around all values, and the columns in another order.
fn correct(from: &Path, to: &Path, cells: &[(&str, &str, &str)]) {
    edit(from, to, |source_id, column, value| {
        let corrected = cells.iter().find(|cell| (cell.0, cell.1) == (source_id, column));
        corrected.map_or(value, |cell| cell.2).to_owned()
    });
}

/// Saves a failures file as a spreadsheet does, with cells from `edited`, which takes the source
/// id, the column and the value.
pub(crate) fn edit(from: &Path, to: &Path, edited: impl Fn(&str, &str, &str) -> String) {
    let mut reader = csv::Reader::from_path(from).unwrap();
    let headings = reader.headers().unwrap().clone();
    let source_id = headings.iter().position(|heading| heading == "source_id").unwrap();
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .quote_style(csv::QuoteStyle::Always)
        .from_writer("\u{feff}".as_bytes().to_vec());
    writer.write_record(headings.iter().rev()).unwrap();
    for row in reader.records() {
        let row = row.unwrap();
        let cells = headings.iter().zip(&row);
        let values = cells.map(|(column, value)| edited(&row[source_id], column, value));
        writer.write_record(values.collect::<Vec<_>>().iter().rev()).unwrap();
    }
    fs::write(to, writer.into_inner().unwrap()).unwrap();
}

#[test]
fn dry_run_writes_nothing_until_committed() {
    let services = services();
    let output = run(&services, "import", &[sample().to_str().unwrap(), "--dry-run"]);
    assert_eq!(output.status, 2, "{output:?}");
    assert!(output.out.starts_with("This was a dry run: nothing was written."), "{output:?}");
    let (_, command) = output.out.split_once("concord imports commit ").unwrap();
    let id = command.split(' ').next().unwrap();
    assert!(command.contains("--practice p1 --product manager --imports http://"), "{command}");
    let file = services.folder.path().join(format!("failures-{id}.csv"));
    let checked = fs::read_to_string(&file).unwrap();
    assert!(services.events("manager", &["--echo", "include"]).is_empty());
    assert_eq!(text(&answer(&services, "imports show", &[id]), "state"), "validated");

    let applied = answer(&services, "imports commit", &[id]);
    assert_eq!((counter(&applied, "imported"), counter(&applied, "failed")), (349, 17));
    assert_eq!(services.events("manager", &["--echo", "include"]).len(), 349);
    // The file of the dry run may contain corrections, and is not overwritten.
    let second = text(&applied, "failures_file");
    assert_eq!(second, format!("failures-{id}-2.csv"));
    assert_eq!(fs::read_to_string(services.folder.path().join(second)).unwrap(), checked);
}

#[test]
fn corrected_records_are_imported() {
    let services = services();
    let id = imported(&services, &["--failures", "failures.csv"]);
    let (failed, corrected) =
        (services.folder.path().join("failures.csv"), services.folder.path().join("corrected.csv"));
    let cells = [
        ("C058", "registered_name", "Named Limited"),
        ("C058", "guarded", "registered_name"),
        ("C058", "phone", "'555"),
        ("A184", "line_1", "1 Quay Street"),
    ];
    correct(&failed, &corrected, &cells);
    let args = ["--retry", &id, "--corrected", "corrected.csv"];
    let over = run(&services, "import", &[&args[..], &["--failures", "./corrected.csv"]].concat());
    assert_eq!((over.status, over.err.contains("would overwrite it")), (1, true), "{over:?}");

    let second = answer(&services, "import", &args);
    assert_eq!(count(&second, "round"), 2);
    // The client, its contact, the address of each, and the other address.
    assert_eq!((counter(&second, "imported"), counter(&second, "failed")), (354, 12), "{second:#}");
    assert_eq!(counter(&second, "received"), 371);
    let show = run(&services, "show", &["ref:NAM001"]);
    assert!(show.out.contains("Named Limited") && show.out.contains("'555"), "{show:?}");

    let again = run(&services, "import", &args);
    assert_eq!(again.status, 2, "{again:?}");
    assert!(
        again.err.contains("the failures of this import: 5 records: address A184, "),
        "{again:?}"
    );
    assert!(again.err.contains("nothing was changed in the file"), "{again:?}");
}

#[test]
fn retry_without_changes_has_the_same_result() {
    let services = services();
    let id = imported(&services, &["--failures", "first.csv"]);
    let first = fs::read_to_string(services.folder.path().join("first.csv")).unwrap();
    let rounds: [(&str, &[&str]); 2] =
        [("plain.csv", &[]), ("same.csv", &["--corrected", "first.csv"])];
    for (round, (file, more)) in (2..).zip(rounds) {
        let args = [&["--retry", &id, "--failures", file], more].concat();
        let retried = answer(&services, "import", &args);
        assert_eq!((counter(&retried, "imported"), counter(&retried, "failed")), (349, 17));
        assert_eq!(count(&retried, "round"), round);
        assert_eq!(fs::read_to_string(services.folder.path().join(file)).unwrap(), first);
    }
    assert_eq!(services.events("manager", &["--echo", "include"]).len(), 349);
}

#[test]
fn interrupted_retry_can_be_resumed_or_cancelled() {
    let services = services();
    let id = imported(&services, &["--failures", "failures.csv"]);
    let begin = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            // With replacements, without an upload.
            let manager = services.importer("manager");
            importing::retry(&manager, &id, true, 0).await.unwrap();
        });
    };
    begin();
    assert_eq!(answer(&services, "imports show", &[&id])["state"], "receiving");
    assert_eq!(run(&services, "import", &["--retry", &id]).status, 1);
    let cancelled = answer(&services, "imports cancel", &[&id]);
    assert_eq!(cancelled["state"], "completed_with_failures");

    begin();
    let folder = services.folder.path();
    let cells = [("A184", "line_1", "1 Quay Street")];
    correct(&folder.join("failures.csv"), &folder.join("corrected.csv"), &cells);
    let args = ["--retry", &id, "--corrected", "corrected.csv"];
    let second = answer(&services, "import", &args);
    assert_eq!((count(&second, "round"), counter(&second, "imported")), (2, 350), "{second:#}");
}

#[test]
fn conflicting_corrections_of_a_record_are_rejected() {
    let services = services();
    let id = imported(&services, &["--failures", "failures.csv"]);
    let corrected = |name: &str, value: &str| {
        let cells = [("C058", "registered_name", value)];
        let to = services.folder.path().join(name);
        correct(&services.folder.path().join("failures.csv"), &to, &cells);
    };
    corrected("one.csv", "One Limited");
    corrected("other.csv", "Other Limited");
    let output = run(&services, "import", &["--retry", &id, "--corrected", "one.csv", "other.csv"]);
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.err.contains("the rows of client C058 differ"), "{output:?}");
    let shown = answer(&services, "imports show", &[&id]);
    assert_eq!(
        (count(&shown, "round"), text(&shown, "state").as_str()),
        (1, "completed_with_failures")
    );
}

#[test]
fn imports_are_listed_and_shown() {
    let services = services();
    assert!(run(&services, "imports list", &[]).err.contains("there are no such imports"));
    let first = imported(&services, &["--label", "first"]);
    let file = services.folder.path().join("one.csv");
    let heading = "source_id,client_reference,client_type,registered_name";
    fs::write(&file, format!("{heading}\nX1,X1,TRUST,A Trust\n")).unwrap();
    assert_eq!(services.import("manager", &file, &["--label", "second"]).status, 0);

    let ids = |args: &[&str]| -> Vec<String> {
        let listed = answer(&services, "imports list", args);
        listed["imports"].as_array().unwrap().iter().map(|one| text(one, "label")).collect()
    };
    assert_eq!(ids(&[]), ["second", "first"]);
    assert_eq!(ids(&["--limit", "1"]), ["second"]);
    assert_eq!(ids(&["--failed"]), ["first"]);
    let table = run(&services, "imports list", &["--failed"]).out;
    assert!(table.contains(&format!("{first}  first  manager/main  completed with failures")));

    let page = run(&services, "imports show", &[&first]).out;
    assert!(page.contains("state     completed with failures, round 1\n"), "{page}");
    assert!(page.contains("\n  contacts "), "{page}");
    let failures = answer(&services, "imports failures", &[&first, "--limit", "3"]);
    assert_eq!(failures["failures"].as_array().unwrap().len(), 3);
    assert_eq!(failures["more"], true);
    let table = run(&services, "imports failures", &[&first]).out;
    assert!(table.contains("\nblocked   contact  P903 "), "{table}");
    let written = run(&services, "imports failures", &[&first, "--file", "again.csv"]);
    assert_eq!(written.status, 0, "{written:?}");
    let written = fs::read_to_string(services.folder.path().join("again.csv")).unwrap();
    let automatic = services.folder.path().join(format!("failures-{first}.csv"));
    assert_eq!(written, fs::read_to_string(automatic).unwrap());
    let watched = run(&services, "imports watch", &[&first]);
    assert_eq!(watched.status, 2, "{watched:?}");
    assert!(watched.out.contains("Why records failed:"), "{watched:?}");
}

#[test]
fn validated_import_can_be_cancelled() {
    let services = services();
    let id = imported(&services, &["--dry-run"]);
    let cancelled = answer(&services, "imports cancel", &[&id]);
    assert_eq!(text(&cancelled, "state"), "cancelled");
    assert_eq!(answer(&services, "imports cancel", &[&id])["state"], "cancelled");
    let refused = run(&services, "imports commit", &[&id]);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.err.contains("it must be VALIDATED"), "{refused:?}");
    assert!(services.events("manager", &["--echo", "include"]).is_empty());
    let unknown = run(&services, "imports show", &["imp_nothing"]);
    assert_eq!(unknown.status, 1, "{unknown:?}");
}

#[test]
fn possible_duplicates_are_counted_and_listed() {
    let services = services();
    let file = services.folder.path().join("clients.csv");
    let heading = "source_id,client_reference,client_type,registered_name,utr";
    let rows = "X1,X1,TRUST,A Trust,1955839661\nX2,X2,TRUST,The Trust,1955839661\n";
    fs::write(&file, format!("{heading}\n{rows}")).unwrap();
    let output = run(&services, "import", &[file.to_str().unwrap()]);
    assert_eq!(output.status, 0, "{output:?}");
    let aim = "To list 1 possible duplicate; nothing is merged:\n";
    let (_, command) = output.out.split_once(aim).unwrap();
    let (_, arguments) = command.split_once("concord imports duplicates ").unwrap();
    let id = arguments.split(' ').next().unwrap();
    let shown = answer(&services, "imports show", &[id]);
    assert_eq!(count(&shown, "possible_duplicates"), 1);
    assert!(run(&services, "imports show", &[id]).out.contains("1 possible duplicate\n"));

    let listed = answer(&services, "imports duplicates", &[id]);
    let one = &listed["possible_duplicates"][0];
    assert_eq!((text(one, "source_id"), text(one, "other_source_id")), ("X2".into(), "X1".into()));
    assert_eq!((text(one, "field"), text(one, "other_name")), ("utr".into(), "A Trust".into()));
    assert_eq!(listed["more"], false);
    let table = run(&services, "imports duplicates", &[id]).out;
    let other = text(one, "other_record_id");
    assert!(
        table.contains(&format!(
            "\nclient  X2         The Trust  X2         utr           {other}  A Trust"
        )),
        "{table}"
    );

    let none =
        run(&services, "imports duplicates", &[&imported(&services, &["--label", "sample"])]);
    assert!(none.err.contains("there are no possible duplicates"), "{none:?}");
}

#[test]
fn record_with_warning_is_not_retried() {
    let services = services();
    let folder = services.folder.path().join("warned");
    fs::create_dir(&folder).unwrap();
    let heading = "source_id,client_reference,client_type,registered_name,email\n";
    let good = "C1,R1,OTHER,One,ann@\n";
    let clients = |rows: &str| fs::write(folder.join("clients.csv"), [heading, rows].concat());
    clients(good).unwrap();
    let output = services.import("manager", &folder, &["--failures", "warnings.csv"]);
    assert_eq!(output.status, 0, "{output:?}");
    let report = &output.json()[0];
    assert_eq!(["imported", "failed", "warnings"].map(|name| counter(report, name)), [1, 0, 1]);
    assert_eq!(text(report, "failures_file"), "warnings.csv");

    clients("C2,R2,OTHER,Two,bob@\nC3,R3,OTHER,,\n").unwrap();
    let output = services.import("manager", &folder, &["--failures", "failures.csv"]);
    assert_eq!(output.status, 2, "{output:?}");
    let import = text(&output.json()[0], "id");
    let path = |name: &str| services.folder.path().join(name);
    let retry = |edited: &[(&str, &str, &str)], round: &str| {
        correct(&path("failures.csv"), &path(round), edited);
        let (round, after) = (path(round), path("after.csv"));
        let args = ["--retry", &import, "--corrected", round.to_str().unwrap()];
        let after = ["--failures", after.to_str().unwrap(), "--json"];
        run(&services, "import", &[&args[..], &after[..]].concat())
    };
    // Unchanged rows of warnings are not reported.
    let output = retry(&[], "as-it-was.csv");
    assert!(!output.err.contains("omitted"), "{output:?}");
    // A changed row of a warning belongs to an imported record.
    let cells = [("C2", "email", "bob@example.com"), ("C3", "registered_name", "Three")];
    let output = retry(&cells, "corrected.csv");
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.err.contains("1 records: client C2"), "{output:?}");
    let report = &output.json()[0];
    let counts = ["imported", "skipped", "failed", "warnings"].map(|name| counter(report, name));
    assert_eq!(counts, [2, 0, 0, 1]);
}
