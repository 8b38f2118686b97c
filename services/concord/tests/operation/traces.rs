//! Traces are exported to a collector, when configured.

use concord_proto::pb::imports::CreateImportRequest;

use crate::{
    collector::{Collector, Span},
    server_process::ServerProcess,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trace_context_is_propagated_through_both_services() {
    let collector = Collector::start().await;
    let mut server = ServerProcess::start(&["--otlp-endpoint", &collector.url()]);
    server.owner("manager").await.connect().await;
    let importer = server.importer("manager").await;
    let importer = importer.with("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    importer.imports().create_import(CreateImportRequest::default()).await.unwrap();
    // Shutdown flushes the remaining spans.
    tokio::task::block_in_place(|| server.end());

    let spans = collector.spans();
    let of_trace = |name: &str| -> Span {
        let found = spans.iter().find(|span| span.name == name && hex(&span.trace_id) == TRACE);
        found.unwrap_or_else(|| panic!("{name} is not in {spans:#?}")).clone()
    };
    let create = of_trace("ImportService/CreateImport");
    assert_eq!(hex(&create.parent_span_id), PARENT);
    assert_eq!(create.kind, 2, "the span kind of a server");
    assert_eq!(create.attribute("practice"), Some("p1"));
    let list = of_trace("ConnectionService/ListConnections");
    assert_eq!(list.parent_span_id, create.span_id);
    assert_eq!(list.attribute("request_id"), create.attribute("request_id"));
    let sql = collector.text().to_lowercase();
    assert!(!sql.contains("select") && !sql.contains("insert into"), "{sql}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_collector_does_not_delay_shutdown() {
    let mut server = ServerProcess::start(&["--otlp-endpoint", "http://127.0.0.1:9"]);
    server.owner("manager").await.connect().await;
    tokio::task::block_in_place(|| server.end());
}
