//! Access logs: one line for each call, with a call id that both services share.

use concord_core::call_id::CALL_ID_HEADER;
use concord_proto::pb::{
    imports::CreateImportRequest,
    records::{GetClientRequest, ListClientsRequest},
};
use serde_json::Value;

use crate::{
    sample,
    server_process::{ServerProcess, is_call},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_id_is_propagated_and_returned_to_the_caller() {
    let server = ServerProcess::start(&[]);
    server.owner("manager").await.connect().await;
    let importer = server.importer("manager").await.with(CALL_ID_HEADER, "support-4711.a_b");
    let answer = importer.imports().create_import(CreateImportRequest::default()).await.unwrap();
    assert_eq!(answer.metadata().get(CALL_ID_HEADER).unwrap(), "support-4711.a_b");
    for rpc in ["ImportService/CreateImport", "ConnectionService/ListConnections"] {
        let line = server.line(rpc, |line| {
            is_call(line, rpc) && line["span"]["request_id"] == "support-4711.a_b"
        });
        assert_eq!(line["code"], "OK", "{line}");
        assert!(line["elapsed_us"].as_u64().unwrap() > 0, "{line}");
        assert_eq!(
            (&line["span"]["practice"], &line["span"]["product"]),
            (&Value::from("p1"), &Value::from("manager"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_call_id_is_replaced() {
    let server = ServerProcess::start(&[]);
    let manager = server.owner("manager").await.connect().await;
    let manager = manager.with(CALL_ID_HEADER, "edith.kestrelton@example.org");
    let answer = manager.clients().list_clients(ListClientsRequest::default()).await.unwrap();
    let id = answer.metadata().get(CALL_ID_HEADER).unwrap().to_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    server.line("the call", |line| line["span"]["request_id"] == id.as_str());
    assert!(!server.log().contains("kestrelton"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_call_has_reason_in_log_and_call_id_in_status() {
    let server = ServerProcess::start(&[]);
    let manager = server.owner("manager").await.connect().await;
    let request = GetClientRequest { client: "ref:BRI001".to_owned() };
    let refused = manager.clients().get_client(request).await.unwrap_err();
    let id = refused.metadata().get(CALL_ID_HEADER).unwrap().to_str().unwrap();
    let line = server.line("the call", |line| line["span"]["request_id"] == id);
    let line = if line["message"] == "call" {
        line
    } else {
        server
            .line("its line", |line| line["span"]["request_id"] == id && line["message"] == "call")
    };
    assert_eq!(
        (&line["code"], &line["reason"]),
        (&"NOT_FOUND".into(), &"NOT_FOUND".into()),
        "{line}"
    );

    let stranger = manager.without("x-concord-product");
    let refused = stranger.clients().list_clients(ListClientsRequest::default()).await.unwrap_err();
    let id = refused.metadata().get(CALL_ID_HEADER).unwrap().to_str().unwrap();
    let line = server.line("the call", |line| line["span"]["request_id"] == id);
    assert_eq!(line["code"], "UNAUTHENTICATED", "{line}");
}

#[test]
fn chunks_and_streams_are_logged() {
    let server = ServerProcess::start(&[]);
    assert!(server.run("connect", "manager", &["manager"]).status.success());
    assert!(server.run("connect", "books", &["books"]).status.success());
    let files = sample::folder();
    server.run("import", "manager", &[files.to_str().unwrap()]);
    let chunk = server.line("a chunk", |line| is_call(line, "IngestService/ApplyChunk"));
    let id = chunk["span"]["request_id"].as_str().unwrap();
    let (import, part) = id.split_once('.').unwrap();
    assert!(import.starts_with("imp_") && part.len() == 12, "{id}");
    let sent = server.line("its sending", |line| line["call"] == id);
    assert_eq!(
        (&sent["span"]["import"], &sent["message"]),
        (&Value::from(import), &Value::from("chunk sent"))
    );

    assert!(server.run("watch", "books", &["--from", "now", "--until-idle", "1"]).status.success());
    let of_stream = |message: &'static str| {
        move |line: &Value| {
            line["message"] == message && line["span"]["rpc"] == "ChangeService/Subscribe"
        }
    };
    let begins = server.line("a stream begins", of_stream("stream started"));
    let ended = server.line("the stream ended", of_stream("stream ended"));
    assert_eq!(begins["span"]["request_id"], ended["span"]["request_id"]);
    assert_eq!(ended["code"], "CANCELLED", "the client has disconnected: {ended}");
    assert!(ended["elapsed_us"].as_u64().unwrap() >= 500_000, "{ended}");
}
