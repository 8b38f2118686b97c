//! One line for each call, with an id that both services share.

use serde_json::Value;
use shared::{
    call_id::CALL_ID_HEADER,
    pb::{
        imports::CreateImportRequest,
        records::{GetClientRequest, ListClientsRequest},
    },
};

use crate::{
    sample,
    stage::{Stage, is_call},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_a_call_goes_from_imports_to_records_and_back_to_the_caller() {
    let stage = Stage::start(&[]);
    stage.owner("manager").await.connect().await;
    let importer = stage.importer("manager").await.with(CALL_ID_HEADER, "support-4711.a_b");
    let answer = importer.imports().create_import(CreateImportRequest::default()).await.unwrap();
    assert_eq!(answer.metadata().get(CALL_ID_HEADER).unwrap(), "support-4711.a_b");
    for rpc in ["ImportService/CreateImport", "ConnectionService/ListConnections"] {
        let line = stage.line(rpc, |line| {
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
async fn an_id_of_another_form_is_replaced() {
    let stage = Stage::start(&[]);
    let manager = stage.owner("manager").await.connect().await;
    let manager = manager.with(CALL_ID_HEADER, "edith.kestrelton@example.org");
    let answer = manager.clients().list_clients(ListClientsRequest::default()).await.unwrap();
    let id = answer.metadata().get(CALL_ID_HEADER).unwrap().to_str().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    stage.line("the call", |line| line["span"]["request_id"] == id.as_str());
    assert!(!stage.log().contains("kestrelton"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_call_has_its_reason_in_the_log_and_an_id_in_its_status() {
    let stage = Stage::start(&[]);
    let manager = stage.owner("manager").await.connect().await;
    let request = GetClientRequest { client: "ref:BRI001".to_owned() };
    let refused = manager.clients().get_client(request).await.unwrap_err();
    let id = refused.metadata().get(CALL_ID_HEADER).unwrap().to_str().unwrap();
    let line = stage.line("the call", |line| line["span"]["request_id"] == id);
    let line = if line["message"] == "call" {
        line
    } else {
        stage.line("its line", |line| line["span"]["request_id"] == id && line["message"] == "call")
    };
    assert_eq!(
        (&line["code"], &line["reason"]),
        (&"NOT_FOUND".into(), &"NOT_FOUND".into()),
        "{line}"
    );

    let stranger = manager.without("x-concord-product");
    let refused = stranger.clients().list_clients(ListClientsRequest::default()).await.unwrap_err();
    let id = refused.metadata().get(CALL_ID_HEADER).unwrap().to_str().unwrap();
    let line = stage.line("the call", |line| line["span"]["request_id"] == id);
    assert_eq!(line["code"], "UNAUTHENTICATED", "{line}");
}

#[test]
fn chunks_and_streams_have_their_lines() {
    let stage = Stage::start(&[]);
    assert!(stage.run("connect", "manager", &["manager"]).status.success());
    assert!(stage.run("connect", "books", &["books"]).status.success());
    let files = sample::folder();
    stage.run("import", "manager", &[files.to_str().unwrap()]);
    let chunk = stage.line("a chunk", |line| is_call(line, "IngestService/ApplyChunk"));
    let id = chunk["span"]["request_id"].as_str().unwrap();
    let (import, part) = id.split_once('.').unwrap();
    assert!(import.starts_with("imp_") && part.len() == 12, "{id}");
    let sent = stage.line("its sending", |line| line["call"] == id);
    assert_eq!(
        (&sent["span"]["import"], &sent["message"]),
        (&Value::from(import), &Value::from("a chunk is sent"))
    );

    assert!(stage.run("watch", "books", &["--from", "now", "--until-idle", "1"]).status.success());
    let of_stream = |message: &'static str| {
        move |line: &Value| {
            line["message"] == message && line["span"]["rpc"] == "ChangeService/Subscribe"
        }
    };
    let begins = stage.line("a stream begins", of_stream("stream begins"));
    let ended = stage.line("the stream ended", of_stream("stream ended"));
    assert_eq!(begins["span"]["request_id"], ended["span"]["request_id"]);
    assert_eq!(ended["code"], "CANCELLED", "its reader has gone: {ended}");
    assert!(ended["elapsed_us"].as_u64().unwrap() >= 500_000, "{ended}");
}
