//! Smoke test: every row of the benchmark runs with one short turn. The figures are ignored.

#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

use std::{collections::BTreeSet, process::Command};

/// Every row except `growth`, which needs its own sizes.
const ROWS: [&str; 10] = [
    "get-client",
    "create-client",
    "delivery",
    "import",
    "retry",
    "stage",
    "import-memory",
    "catch-up",
    "streams",
    "latency",
];

/// The JSON report.
fn report(rows: &[&str], more: &[&str]) -> serde_json::Value {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_concord-bench"));
    bench.args(["--quick", "--json", "--rounds", "1"]).args(more).args(rows);
    if std::env::var_os("TEST_POSTGRES_URL").is_none() {
        // Without the variable, PostgreSQL may not be installed.
        bench.args(["--database", "sqlite"]);
    }
    let output = bench.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

fn rows_of(report: &serde_json::Value) -> BTreeSet<&str> {
    report["rows"].as_array().unwrap().iter().map(|row| row["row"].as_str().unwrap()).collect()
}

#[test]
fn every_row_is_measured() {
    let report = report(&ROWS, &[]);
    assert_eq!(rows_of(&report), BTreeSet::from(ROWS));
}

#[test]
fn growth_is_measured() {
    let report = report(&["growth"], &["--sizes", "200,400"]);
    assert_eq!(rows_of(&report), BTreeSet::from(["growth"]));
    assert!(report["rows"].as_array().unwrap().len() > 10, "{report}");
}
