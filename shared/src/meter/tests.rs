//! The catalogue and the docs, and what bounds the labels.

use std::collections::BTreeSet;

use super::*;

const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md"));

#[test]
fn the_docs_show_what_is_counted() {
    let table = catalog::table();
    assert!(DOCS.contains(&table), "docs/metrics.md needs this table:\n\n{table}");
}

#[test]
fn the_docs_name_nothing_that_is_not_counted() {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = DOCS.split(|c| !word(c)).filter(|word| word.starts_with("concord_"));
    for name in named.collect::<BTreeSet<_>>() {
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let is = |name: &str| catalog::ALL.iter().any(|metric| metric.name == name);
        assert!(is(name) || plain.is_some_and(is), "{name} is not in the catalogue");
    }
}

#[test]
fn names_are_unique_and_of_the_form_that_prometheus_asks_for() {
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
fn two_meters_do_not_count_together() {
    let (one, other) = (Meter::new("records"), Meter::new("imports"));
    one.counter(&catalog::CALLS, ["ClientService/GetClient", "OK"]).increment(2);
    let line =
        r#"concord_calls_total{service="records",rpc="ClientService/GetClient",code="OK"} 2"#;
    assert!(one.text().contains(line), "{}", one.text());
    assert!(!other.text().contains("concord_calls_total{"));
}

#[test]
fn products_beyond_the_bound_share_a_label() {
    let meter = Meter::new("records");
    let labels = |n| (0..n).map(|n| meter.product(&format!("p{n}"))).collect::<BTreeSet<_>>();
    assert_eq!(labels(1_000).len(), MAX_PRODUCTS + 1);
    assert_eq!(meter.product("p999"), OTHER);
    assert_eq!(meter.product("p0"), "p0", "the first keep their label");
}

#[test]
fn a_value_that_is_gone_is_zero() {
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
fn what_can_be_seen_at_once_is_looked_at_with_each_reading() {
    let meter = Meter::new("imports");
    meter.at_each_reading(|meter| meter.gauge(&catalog::UPLOADS, NONE).increment(1.0));
    let _ = meter.text();
    assert!(meter.text().contains("concord_import_uploads{service=\"imports\"} 2"));
}
