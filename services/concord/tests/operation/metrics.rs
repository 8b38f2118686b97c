//! The HTTP port for metrics and health.

use std::{net::TcpListener, process::Stdio, time::Duration};

use concord_server::meter::catalog;

use crate::{
    process::{concord, wait_until},
    sample,
    server_process::{ServerProcess, get},
};

#[test]
fn every_metric_in_the_catalogue_is_exported() {
    let server = ServerProcess::start(&[]);
    assert!(server.run("connect", "manager", &["manager"]).status.success());
    assert!(server.run("connect", "books", &["books"]).status.success());
    let files = sample::folder();
    server.run("import", "manager", &[files.to_str().unwrap()]);
    let watch = ["--name", "ledger", "--from", "earliest", "--until-idle", "1"];
    assert!(server.run("watch", "books", &watch).status.success());
    for service in ["records", "imports"] {
        let of = catalog::ALL.iter().filter(|metric| metric.of.is(service));
        // Some metrics are updated every ten seconds.
        for metric in of {
            let kind = format!("# TYPE {} ", metric.name);
            let value = format!("\n{}", metric.name);
            let shown = || {
                let text = server.metrics(service);
                (text.contains(&kind) && text.contains(&value)).then_some(text)
            };
            wait_until(metric.name, shown);
        }
        let text = server.metrics(service);
        let known = |line: &str| catalog::ALL.iter().any(|metric| line.contains(metric.name));
        for line in text.lines().filter(|line| !line.is_empty()) {
            assert!(known(line), "{line} is not in the catalogue");
        }
    }

    let records = server.metrics("records");
    let labels = r#"{service="records",rpc="ConnectionService/ConnectProduct",code="OK"} 2"#;
    assert!(records.contains(&format!("concord_calls_total{labels}")), "{records}");
    for line in [
        r#"concord_feed_head_position{service="records",product="books"} 349"#,
        r#"concord_feed_pending_changes{service="records",product="books"} 0"#,
        r#"concord_feed_subscriptions{service="records",product="books",stream="closed"} 1"#,
        r#"concord_streams_open{service="records",rpc="ChangeService/Subscribe"} 0"#,
        r#"concord_database_up{service="records"} 1"#,
        r#"concord_call_seconds_bucket{service="records",rpc="IngestService/ApplyChunk",le="+Inf"}"#,
    ] {
        wait_until(line, || server.metrics("records").contains(line).then_some(()));
    }
    let imports = server.metrics("imports");
    for line in [
        r#"concord_import_records_total{service="imports",kind="client",verdict="IMPORTED"} 57"#,
        r#"concord_imports_ended_total{service="imports",state="COMPLETED_WITH_FAILURES"} 1"#,
        r#"concord_imports_stalled_total{service="imports"} 0"#,
        r#"concord_imports{service="imports",state="APPLYING"} 0"#,
        r#"concord_import_uploads_max{service="imports"} 12"#,
    ] {
        assert!(imports.contains(line), "{line} is not in\n{imports}");
    }
}

#[test]
fn livez_and_readyz_respond() {
    let server = ServerProcess::start(&[]);
    for service in ["records", "imports"] {
        assert_eq!(server.http(service, "/livez"), (200, "alive\n".to_owned()));
        assert_eq!(server.http(service, "/readyz"), (200, "ready\n".to_owned()));
        assert_eq!(server.http(service, "/").0, 404);
    }
}

#[test]
fn idle_connections_do_not_block_the_metrics_port() {
    let server = ServerProcess::start(&[]);
    server.http("records", "/livez");
    let log = server.log();
    let (_, rest) = log.split_once("records serves http://").unwrap();
    let address = rest.split_once('/').unwrap().0;
    let _silent: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(200));
    // Idle connections are closed after ten seconds, sixteen at a time.
    let answered =
        wait_until("an answer", || std::panic::catch_unwind(|| get(address, "/livez")).ok());
    assert_eq!(answered.0, 200);
}

#[test]
fn metrics_port_in_use_error_names_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = concord();
    command
        .args(["serve", "imports", "--imports-listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .args(["--imports-metrics-listen", &address])
        .stdout(Stdio::null());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on {address} for metrics")), "{stderr}");
    assert!(stderr.contains("--imports-metrics-listen"), "{stderr}");
}

#[test]
fn metrics_port_can_be_disabled() {
    let server = ServerProcess::start(&["--imports-metrics-listen", "off"]);
    server.http("records", "/livez");
    assert!(!server.log().contains("imports serves"));
}
