//! Idempotency across crashes: a request whose response was lost, because the process was
//! killed after the commit, is applied once when it is retried.

use std::time::Duration;

use concord_core::ids::new_uuid;
use concord_proto::pb::records::{
    ClientType, CreateClientRequest, CreateClientResponse, NewName,
    client_service_client::ClientServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::running::Services;

/// Requests in flight when the process is killed.
const SAVES: usize = 12;
/// The number of kills.
const KILLS: u64 = 8;

#[test]
fn retried_request_after_crash_is_applied_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut services = Services::start();
    assert_eq!(services.connect("manager").status, 0);
    let mut requests = Vec::new();
    for kill in 0..KILLS {
        let round: Vec<_> = (0..SAVES).map(|n| request(&format!("K{kill}N{n}"))).collect();
        let address = services.records().to_owned();
        // A different moment each time: before, during and after the commits.
        let moment = Duration::from_millis(kill * 3);
        runtime.block_on(async {
            let saves = round
                .clone()
                .into_iter()
                .map(|request| tokio::spawn(save(address.clone(), request)));
            let saves: Vec<_> = saves.collect();
            tokio::time::sleep(moment).await;
            drop(saves);
        });
        services = services.crash_and_restart();
        requests.extend(round);
    }
    runtime.block_on(async {
        for request in &requests {
            let first = save(services.records().to_owned(), request.clone()).await.unwrap();
            let again = save(services.records().to_owned(), request.clone()).await.unwrap();
            assert_eq!(first, again, "the stored response");
        }
    });
    let events = services.events("manager", &["--echo", "include"]);
    assert_eq!(events.len(), requests.len(), "each request is one change, delivered once");
}

fn request(reference: &str) -> CreateClientRequest {
    let name = NewName { name: format!("{reference} Limited"), active_from: String::new() };
    CreateClientRequest {
        r#type: ClientType::PrivateLimitedCompany.into(),
        client_reference: reference.to_owned(),
        registered_name: Some(name),
        request_id: new_uuid().to_string(),
        ..CreateClientRequest::default()
    }
}

async fn save(
    address: String,
    request: CreateClientRequest,
) -> Result<CreateClientResponse, Status> {
    let unavailable =
        |error: tonic::transport::Error| Status::new(Code::Unavailable, error.to_string());
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.map_err(unavailable)?;
    let mut clients = ClientServiceClient::with_interceptor(channel, |mut request: Request<()>| {
        let headers = [
            ("x-concord-practice", "p1"),
            ("x-concord-product", "manager"),
            ("x-concord-roles", "owner"),
        ];
        for (name, value) in headers {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        Ok(request)
    });
    Ok(clients.create_client(request).await?.into_inner())
}
