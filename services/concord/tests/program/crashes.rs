//! Idempotency across crashes: a request whose response was lost, because the process was
//! killed after the commit, is applied once when it is retried.

use std::time::Duration;

use concord_proto::pb::records::{CreateClientRequest, CreateClientResponse};
use concord_testing::e2e::{caller::Caller, records::company};
use tonic::{Response, Status};

use crate::running::Services;

/// Requests in flight when the process is killed.
const SAVES: usize = 12;
/// The number of kills.
const KILLS: u64 = 8;

#[test]
fn retried_request_after_crash_is_applied_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut services = Services::with(&["manager"]);
    let mut requests = Vec::new();
    for kill in 0..KILLS {
        let request = |n: usize| company(&format!("K{kill}N{n}"), "Acme Limited");
        let round: Vec<_> = (0..SAVES).map(request).collect();
        // A different moment each time: before, during and after the commits.
        let moment = Duration::from_millis(kill * 3);
        runtime.block_on(async {
            // A connection for each of them.
            let save = |request: &CreateClientRequest| {
                tokio::spawn(save(services.owner("manager"), request.clone()))
            };
            let saves: Vec<_> = round.iter().map(save).collect();
            tokio::time::sleep(moment).await;
            drop(saves);
        });
        services = services.crash_and_restart();
        requests.extend(round);
    }
    runtime.block_on(async {
        let owner = services.owner("manager");
        for request in &requests {
            let first = save(owner.clone(), request.clone()).await.unwrap();
            let again = save(owner.clone(), request.clone()).await.unwrap();
            assert_eq!(first, again, "the stored response");
        }
    });
    let events = services.events("manager", &["--echo", "include"]);
    assert_eq!(events.len(), requests.len(), "each request is one change, delivered once");
}

async fn save(owner: Caller, request: CreateClientRequest) -> Result<CreateClientResponse, Status> {
    owner.clients().create_client(request).await.map(Response::into_inner)
}
