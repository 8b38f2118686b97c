//! Import of the sample practice.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::running::{Background, CommandOutput, Services, sample};

/// The counters of an import of the sample into an empty practice.
fn counters() -> Value {
    json!({
        "received": 371, "imported": 349, "linked": 0, "skipped": 1, "excluded": 4,
        "failed": 17, "blocked": 4, "unprocessed": 0,
    })
}

fn assert_counters(output: &CommandOutput, expected: &Value) {
    let report = &output.json()[0];
    for (name, count) in expected.as_object().unwrap() {
        assert_eq!(&report["counters"][name], count, "{name} of {report:#}\n{}", output.err);
    }
}

/// Kind, source id, status, reason and field of each row of a failures file.
fn failures(file: &Path) -> BTreeSet<[String; 5]> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let headings = reader.headers().unwrap().clone();
    let index = |name: &str| headings.iter().position(|heading| heading == name).unwrap();
    let indexes = ["kind", "source_id", "status", "reason", "field"].map(index);
    reader
        .records()
        .map(|row| row.unwrap())
        .map(|row| indexes.map(|at| row[at].to_owned()))
        .collect()
}

/// Writes the rows of the sample in another order, to two files of each kind.
fn shuffled(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for kind in ["clients", "contacts", "addresses"] {
        let text = fs::read_to_string(sample().join(format!("{kind}.csv"))).unwrap();
        let (heading, rows) = text.split_once('\n').unwrap();
        let mut rows: Vec<_> = rows.lines().rev().collect();
        rows.sort_by_key(|row| row.bytes().rev().collect::<Vec<_>>());
        let (one, other) = rows.split_at(rows.len() / 3);
        for (part, rows) in [one, other].into_iter().enumerate() {
            let text = format!("{heading}\r\n{}\r\n", rows.join("\r\n"));
            // The file name does not contain the kind.
            let order = kind.len() * 7 % 5;
            fs::write(folder.join(format!("part-{part}-{order}-{}.csv", kind.len())), text)
                .unwrap();
        }
    }
}

#[test]
fn practice_is_imported_once_then_skipped_or_linked() {
    let services = Services::with(&["manager", "books"]);

    let first = services.import("manager", &sample(), &[]);
    assert_eq!(first.status, 2, "{first:?}");
    assert_counters(&first, &counters());
    let file = first.json()[0]["failures_file"].as_str().unwrap().to_owned();
    let failed = failures(&services.folder.path().join(file));
    let blocked = failed.iter().filter(|row| row[3] == "PARENT_FAILED").count();
    assert_eq!((failed.len(), blocked), (22, 4), "{failed:#?}");

    let again = services.import("manager", &sample(), &["--failures", "again.csv"]);
    assert_counters(
        &again,
        &json!({ "imported": 0, "linked": 0, "skipped": 350, "excluded": 4, "failed": 17 }),
    );
    assert_eq!(failures(&services.folder.path().join("again.csv")), failed);

    let books = services.import("books", &sample(), &[]);
    assert_counters(
        &books,
        &json!({ "imported": 0, "linked": 349, "skipped": 1, "excluded": 4, "failed": 17 }),
    );
}

#[test]
fn result_does_not_depend_on_order_of_files_and_rows() {
    let services = Services::with(&["manager"]);
    let folder = services.folder.path().join("shuffled");
    shuffled(&folder);
    let output =
        services.import("manager", &folder, &["--batches", "50", "--failures", "shuffled.csv"]);
    assert_counters(&output, &counters());

    let plain = Services::with(&["manager"]);
    plain.import("manager", &sample(), &["--batches", "1", "--failures", "plain.csv"]);
    assert_eq!(
        failures(&services.folder.path().join("shuffled.csv")),
        failures(&plain.folder.path().join("plain.csv"))
    );
}

#[test]
fn other_product_receives_each_record_once() {
    let services = Services::with(&["manager", "books"]);
    let mut early = services.command("watch", "books");
    let early = Background::start(early.args(["--from", "now", "--count", "349", "--json"]));
    early.wait_for("err", "listening after position 0");

    assert_counters(&services.import("manager", &sample(), &[]), &counters());
    let late = services.events("books", &[]);
    let positions: Vec<_> = late.iter().map(|event| event["position"].clone()).collect();
    assert_eq!(positions, (1..=349).map(Value::from).collect::<Vec<_>>());

    let early = early.end();
    assert_eq!(early.status, 0, "{}", early.err);
    let changes = |events: &[Value]| -> Vec<_> {
        events.iter().map(|event| event["change_id"].to_string()).collect()
    };
    assert_eq!(changes(&early.json()), changes(&late));
    assert_eq!(changes(&late).into_iter().collect::<BTreeSet<_>>().len(), 349);
    assert!(services.events("manager", &[]).is_empty(), "own changes are suppressed");
}

#[test]
fn watch_and_import_survive_a_crash_of_both_services() {
    let services = Services::with(&["manager", "books"]);
    let mut watch = services.command("watch", "books");
    let watch = Background::start(watch.args(["--from", "earliest", "--count", "349", "--json"]));
    watch.wait_for("err", "listening after position 0");
    let mut import = services.command("import", "manager");
    let import = import.arg(sample()).args(["--json", "--batches", "300"]);
    let import = Background::start(import);
    import.wait_for("err", "371 records");
    let _services = services.crash_and_restart();

    let import = import.end();
    assert_eq!(import.status, 2, "{}", import.err);
    assert_counters(&import, &counters());
    let watch = watch.end();
    assert_eq!(watch.status, 0, "{}", watch.err);
    assert_eq!(watch.json().len(), 349);
}
