//! The catalogue, its documentation, and the bounds of labels.

use std::collections::BTreeSet;

use super::*;

const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitoring.md"));

#[test]
fn docs_list_all_metrics() {
    let table = catalog::table();
    assert!(DOCS.contains(&table), "docs/monitoring.md needs this table:\n\n{table}");
}

#[test]
fn docs_name_no_unknown_metric() {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // The example of a log line contains the name of this crate.
    let is_metric = |word: &&str| word.starts_with("concord_") && *word != "concord_server";
    let named = DOCS.split(|c| !word(c)).filter(is_metric);
    for name in named.collect::<BTreeSet<_>>() {
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let is = |name: &str| catalog::ALL.iter().any(|metric| metric.name == name);
        assert!(is(name) || plain.is_some_and(is), "{name} is not in the catalogue");
    }
}

#[test]
fn names_are_unique_and_follow_prometheus_conventions() {
    let mut names = BTreeSet::new();
    for metric in catalog::ALL {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("concord_"));
        let counts = metric.kind == catalog::Kind::Counter;
        assert_eq!(counts, metric.name.ends_with("_total"), "{}", metric.name);
        let forbidden = ["practice", "user", "name", "id", "account", "import"];
        assert!(!metric.labels.iter().any(|label| forbidden.contains(label)), "{}", metric.name);
    }
}

#[test]
fn meters_do_not_share_counters() {
    let (one, other) = (Meter::new("records"), Meter::new("imports"));
    one.counter(&catalog::CALLS, ["ClientService/GetClient", "OK"]).increment(2);
    let line =
        r#"concord_calls_total{service="records",rpc="ClientService/GetClient",code="OK"} 2"#;
    assert!(one.text().contains(line), "{}", one.text());
    assert!(!other.text().contains("concord_calls_total{"));
}

#[test]
fn products_beyond_bound_share_label() {
    let meter = Meter::new("records");
    let labels = |n| (0..n).map(|n| meter.product(&format!("p{n}"))).collect::<BTreeSet<_>>();
    assert_eq!(labels(1_000).len(), MAX_PRODUCTS + 1);
    assert_eq!(meter.product("p999"), OTHER);
    assert_eq!(meter.product("p0"), "p0", "the first keep their label");
}

#[test]
fn absent_value_becomes_zero() {
    let meter = Meter::new("records");
    let mut pending = GaugeFamily::new(&meter, &catalog::FEED_PENDING);
    let of = |product: &str, n| (vec![product.to_owned()], n);
    pending.show([of("books", 3.0), of("ap", 1.0), of("ap", 2.0)], |one, other| one + other);
    pending.show([of("books", 4.0)], |one, other| one + other);
    let line = |product, n| {
        format!("concord_feed_pending_changes{{service=\"records\",product=\"{product}\"}} {n}\n")
    };
    let text = meter.text();
    assert!(text.contains(&line("books", 4)) && text.contains(&line("ap", 0)), "{text}");
}

#[test]
fn scrape_hook_runs_at_each_scrape() {
    let meter = Meter::new("imports");
    meter.on_scrape(|meter| meter.gauge(&catalog::UPLOADS, NONE).increment(1.0));
    let _ = meter.text();
    assert!(meter.text().contains("concord_import_uploads{service=\"imports\"} 2"));
}
