//! Connections that a service closes, and the endpoints outside of the API: health and
//! reflection.

use std::time::Duration;

use concord_proto::pb::{
    imports::{CreateImportRequest, ListImportsRequest},
    records::ListConnectionsRequest,
};
use concord_testing::{TestDb, storage_tests};
use futures::StreamExt as _;
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use concord_testing::e2e::{
    caller::Caller,
    feed::connect_all,
    secure::Issuer,
    servers::{self, Running},
};

storage_tests! {
    idle_connections_are_replaced_without_errors,
    reflection_without_token_is_refused,
    disabled_reflection_is_unimplemented,
}

const IDLE: Duration = Duration::from_millis(100);

/// Each call is made after its connection was closed as idle: from a caller to both
/// services, and from the imports service to the records service.
async fn idle_connections_are_replaced_without_errors(db: TestDb) {
    let records = servers::records_with(db.settings(), |config| {
        config.limits.idle_time = IDLE;
    })
    .await;
    connect_all(&records, "p1", &["manager"]).await;
    let imports = servers::imports_with(db.sibling("imports"), &records.url, |config| {
        config.limits.idle_time = IDLE;
    })
    .await;
    let to_records = records.owner("p1", "manager").await;
    let to_imports = imports.owner("p1", "manager").await;
    for _ in 0..3 {
        sleep(IDLE * 10).await;
        to_records.connections().list_connections(ListConnectionsRequest {}).await.unwrap();
        // The imports service asks the records service whether the product is connected.
        let mut books = to_imports.clone().with("x-concord-product", "books").imports();
        let refused = books.create_import(CreateImportRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
        to_imports.imports().list_imports(ListImportsRequest::default()).await.unwrap();
    }
    imports.stop().await;
    records.stop().await;
}

async fn reflected(caller: &Caller) -> Result<(), Status> {
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::new(caller.service());
    let mut answers = client.server_reflection_info(tokio_stream::iter([list])).await?.into_inner();
    answers.next().await.expect("an answer").map(drop)
}

async fn is_healthy(server: &Running) -> bool {
    let mut health = HealthClient::new(server.channel().await);
    health.check(HealthCheckRequest::default()).await.is_ok()
}

async fn reflection_without_token_is_refused(db: TestDb) {
    let issuer = Issuer::new();
    let security = issuer.tokens();
    let server = servers::records_with(db.settings(), |config| config.security = security).await;
    let channel = server.channel().await;
    let anonymous = Caller::owner(channel.clone(), "p1", "manager");
    assert_eq!(reflected(&anonymous).await.unwrap_err().code(), Code::Unauthenticated);
    let forged = Issuer::new().caller(&channel, &Issuer::owner("p1", "manager"));
    assert_eq!(reflected(&forged).await.unwrap_err().code(), Code::Unauthenticated);
    reflected(&issuer.caller(&channel, &Issuer::owner("p1", "manager"))).await.unwrap();
    assert!(is_healthy(&server).await, "health needs no token");
    server.stop().await;
}

async fn disabled_reflection_is_unimplemented(db: TestDb) {
    let server =
        servers::records_with(db.settings(), |config| config.security.no_reflection = true).await;
    let owner = server.owner("p1", "manager").await;
    assert_eq!(reflected(&owner).await.unwrap_err().code(), Code::Unimplemented);
    assert!(is_healthy(&server).await);
    server.stop().await;
}
