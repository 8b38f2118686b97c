//! TLS connections and client certificates.

use std::time::Duration;

use concord_proto::pb::{
    imports::{CreateImportRequest, ImportState},
    records::ListConnectionsRequest,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    import_records, importing,
    records::client,
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
    let found = client(&issuer.caller(&to_records, &owner), "ref:REF-C1").await;
    assert_eq!(found.registered_name, "C1 Limited");
    imports.stop().await;
    records.stop().await;
}

async fn import_one(caller: &Caller) {
    let id = importing::create(caller, CreateImportRequest::default()).await;
    importing::upload(caller, &id, "b1", &[import_records::client("C1", |_| ())]).await.unwrap();
    importing::seal(caller, &id, 1, 1).await.unwrap();
    assert_eq!(importing::end(caller, &id).await.state(), ImportState::Completed);
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
