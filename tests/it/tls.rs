//! TLS connections and client certificates.

use std::time::Duration;

use concord_proto::{
    pb::imports::{
        BatchCommit, BatchHeader, CreateImportRequest, ImportClient, ImportRecord, ImportState,
        SealImportRequest, UploadBatchRequest, WatchImportRequest, import_record::Record,
        upload_batch_request::Part,
    },
    pb::records::{GetClientRequest, ListConnectionsRequest},
    wire::BatchFrame,
};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    secure::{Issuer, channel},
    servers::{self, Running},
};

storage_tests! {
    import_runs_over_mutual_tls,
    certificate_must_match_product_of_token,
    plaintext_connection_to_tls_service_fails,
}

async fn records(db: &TestDb, issuer: &Issuer, client_certificates: bool) -> Running {
    let security = issuer.tls(client_certificates);
    servers::records_with(db.settings(), |config| config.security = security).await
}

async fn import_runs_over_mutual_tls(db: TestDb) {
    let issuer = Issuer::new();
    let records = records(&db, &issuer, true).await;
    let url = records.url.replace("http://127.0.0.1", "https://localhost");
    let security = issuer.tls(true);
    let to_records = issuer.client_tls(Some("urn:concord:service:imports"));
    let imports = servers::imports_with(db.sibling("imports"), &url, |config| {
        config.security = security;
        config.records_tls = to_records;
    })
    .await;
    let manager = issuer.client_tls(Some("urn:concord:product:manager"));
    let owner = Issuer::owner("p1", "manager");
    let to_records = channel(&records.url, &manager).await.unwrap();
    issuer.caller(&to_records, &owner).connect().await;
    let to_imports = channel(&imports.url, &manager).await.unwrap();
    import_one(&issuer.caller(&to_imports, &owner)).await;
    let mut clients = issuer.caller(&to_records, &owner).clients();
    let request = GetClientRequest { client: "ref:ACME01".into() };
    let found = clients.get_client(request).await.unwrap().into_inner().client.unwrap();
    assert_eq!(found.registered_name, "Acme Limited");
    imports.stop().await;
    records.stop().await;
}

async fn import_one(caller: &Caller) {
    let mut imports = caller.imports();
    let created = imports.create_import(CreateImportRequest::default()).await.unwrap();
    let id = created.into_inner().import_job.unwrap().id;
    let client = ImportClient {
        source_id: "C1".into(),
        client_reference: "ACME01".into(),
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: "Acme Limited".into(),
        ..ImportClient::default()
    };
    let record =
        ImportRecord { record: Some(Record::Client(client)), ..Default::default() }.encode_to_vec();
    let header =
        BatchHeader { import_id: id.clone(), batch_key: "b1".into(), ..BatchHeader::default() };
    let parts = [
        Part::Header(header),
        Part::Frame(BatchFrame { records: vec![record.into()] }),
        Part::Commit(BatchCommit::default()),
    ];
    let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
    imports.upload_batch(tokio_stream::iter(parts)).await.unwrap();
    let seal = SealImportRequest {
        import_id: id.clone(),
        batch_count: 1,
        record_count: 1,
        ..SealImportRequest::default()
    };
    imports.seal_import(seal).await.unwrap();
    let watch = WatchImportRequest { import_id: id };
    let mut stream = imports.watch_import(watch).await.unwrap().into_inner();
    let mut last = None;
    while let Some(update) = stream.message().await.unwrap() {
        last = update.import_job;
    }
    assert_eq!(last.unwrap().state(), ImportState::Completed);
}

async fn certificate_must_match_product_of_token(db: TestDb) {
    let issuer = Issuer::new();
    let records = records(&db, &issuer, true).await;
    // Without a client certificate the connection or the first call fails.
    let refused = async {
        let channel = channel(&records.url, &issuer.client_tls(None)).await.ok()?;
        let owner = issuer.caller(&channel, &Issuer::owner("p1", "manager"));
        owner.connections().list_connections(ListConnectionsRequest {}).await.ok()
    };
    assert!(refused.await.is_none());
    let books = issuer.client_tls(Some("urn:concord:product:books"));
    let channel = channel(&records.url, &books).await.unwrap();
    let of = |product| issuer.caller(&channel, &Issuer::owner("p1", product)).connections();
    let refused = of("manager").list_connections(ListConnectionsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("client certificate"), "{refused:?}");
    of("books").list_connections(ListConnectionsRequest {}).await.unwrap();
    records.stop().await;
}

async fn plaintext_connection_to_tls_service_fails(db: TestDb) {
    let issuer = Issuer::new();
    let records = records(&db, &issuer, false).await;
    let plain = tonic::transport::Channel::from_shared(records.url.clone()).unwrap();
    let plain = plain.timeout(Duration::from_secs(5)).connect_lazy();
    let owner = Issuer::owner("p1", "manager");
    let call = |channel| {
        let caller = issuer.caller(&channel, &owner);
        async move { caller.connections().list_connections(ListConnectionsRequest {}).await }
    };
    assert!(call(plain).await.is_err());
    let encrypted = channel(&records.url, &issuer.client_tls(None)).await.unwrap();
    assert!(call(encrypted).await.is_ok());
    // With another certificate authority the client rejects the service.
    assert!(channel(&records.url, &Issuer::new().client_tls(None)).await.is_err());
    records.stop().await;
}
