//! A replica that is offered ten times what it can do goes on doing what it can,
//! refuses the rest clearly, says that it is healthy, keeps its memory within
//! bounds, loses nothing of what it has answered, and is itself again at once.
//!
//! A minute of it instead of ten seconds:
//!
//! ```console
//! CONCORD_OVERLOAD_SECONDS=60 cargo test --release -p concord --test faults overload
//! ```

#![cfg(target_os = "linux")]

mod load;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shared::{
    pb::records::{GetClientRequest, ListClientsRequest},
    testing::{TestDb, storage_tests},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    memory::peak,
    replica::Replica,
    support::{
        caller::Caller,
        dice::{Dice, setting},
        feed::{Listening, from_earliest},
        records::company,
    },
};
use load::{Outcomes, Rush, closed_loop, is_refusal, open_loop};

storage_tests! { a_replica_that_is_offered_too_much_does_what_it_can }

/// How long it is offered too much, unless `CONCORD_OVERLOAD_SECONDS` says
/// otherwise.
const SECONDS: u64 = 10;

/// How many times what it can do it is offered.
const TIMES: f64 = 10.0;

/// Practices, each with few enough calls to keep below the rate of one.
const PRACTICES: usize = 16;

/// Connections that the calls come over.
const CONNECTIONS: usize = 32;

/// How much of what it can do it must go on doing at least. It does most of it, but
/// whoever makes the calls takes the same processors.
const GOES_ON: f64 = 0.1;

/// A health check without an answer for this long hangs.
const HEALTH: Duration = Duration::from_mins(1);

/// How much more memory than without overload it may hold.
const BUDGET_BYTES: i64 = 256 * 1_024 * 1_024;

/// A replica that refuses calls for this long after the rush does not recover.
const RECOVERY: Duration = Duration::from_mins(1);

async fn a_replica_that_is_offered_too_much_does_what_it_can(db: TestDb) {
    let replica = Replica::start(db.url(), &mut Dice::of_this_run());
    let practices: Vec<_> = (0..PRACTICES).map(|number| format!("p{number}")).collect();
    for practice in &practices {
        for product in ["manager", "books"] {
            replica.owner(practice, product).connect().await;
        }
    }
    let callers = practices.iter().cycle().take(CONNECTIONS);
    let callers: Vec<_> =
        callers.map(|practice| (practice.clone(), replica.owner(practice, "manager"))).collect();

    let (rate, mut outcomes) = closed_loop(&callers, Duration::from_secs(3)).await;
    let before = peak(&replica);
    let health = Health::watch(replica.channel());
    let rush = Rush {
        per_second: rate * TIMES,
        time: Duration::from_secs(setting("CONCORD_OVERLOAD_SECONDS", SECONDS)),
    };
    let rushed = open_loop(&callers, rush).await;
    let growth = peak(&replica) - before;
    let recovery = recovery(&replica, &mut outcomes).await;
    let checks = health.end().await;
    eprintln!(
        "{rate:.0} pairs of calls a second can be done; then {rushed}; memory grew by {growth} \
         bytes; health was asked {checks} times; the next call was answered after {recovery:?}"
    );
    assert!(rushed.refused > 0, "it was too much");
    let answered = rushed.answered_per_second(rush.time);
    assert!(answered >= 2.0 * rate * GOES_ON, "{answered} calls a second");
    assert!(growth < BUDGET_BYTES, "it grew by {growth} bytes");

    outcomes.add(rushed);
    check_records(&replica, &practices, &outcomes).await;
    check_feed(&replica, &outcomes).await;
    let log = replica.log();
    assert!(!log.contains("ERROR"), "{log}");
}

/// How long it takes until a call is answered again.
async fn recovery(replica: &Replica, outcomes: &mut Outcomes) -> Duration {
    let began = Instant::now();
    let manager = replica.owner("p0", "manager");
    loop {
        let request = company("AFTER", "Acme Limited");
        match manager.clients().create_client(request).await {
            Ok(created) => {
                outcomes.created("p0", created.into_inner());
                return began.elapsed();
            }
            Err(status) => assert!(is_refusal(&status), "{status:?}"),
        }
        assert!(began.elapsed() < RECOVERY, "it does not recover");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Asks all the time how the replica is.
struct Health {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Health {
    fn watch(channel: Channel) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut checks = 0;
            while !stopped.is_cancelled() {
                let request =
                    HealthCheckRequest { service: "concord.records.v1.ClientService".into() };
                let mut client = HealthClient::new(channel.clone());
                let answer = timeout(HEALTH, client.check(request)).await;
                let answer = answer.expect("health in time").unwrap().into_inner();
                assert_eq!(answer.status(), ServingStatus::Serving);
                checks += 1;
                sleep(Duration::from_millis(200)).await;
            }
            checks
        });
        Self { stop, task }
    }

    /// How often it was asked.
    async fn end(self) -> usize {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// What was acknowledged is there, once, and nothing else is: a call that was
/// refused has not been begun.
async fn check_records(replica: &Replica, practices: &[String], outcomes: &Outcomes) {
    for practice in practices {
        let manager = replica.owner(practice, "manager");
        let (mut listed, mut count, mut page_token) = (BTreeMap::new(), 0, String::new());
        loop {
            let request = ListClientsRequest { page_size: 1_000, page_token, ..Default::default() };
            let page = manager.clients().list_clients(request).await.unwrap().into_inner();
            count += page.clients.len();
            listed.extend(page.clients.into_iter().map(|one| (one.client_reference, one.id)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(count, listed.len(), "each reference once in {practice}");
        let acknowledged = outcomes.clients.get(practice).cloned().unwrap_or_default();
        assert_eq!(listed, acknowledged, "{practice}");
        if let Some((reference, _)) = acknowledged.first_key_value() {
            let request = GetClientRequest { client: format!("ref:{reference}") };
            manager.clients().get_client(request).await.unwrap();
        }
    }
}

/// And it is told to another product, once.
async fn check_feed(replica: &Replica, outcomes: &Outcomes) {
    let backend: Caller = replica.owner("p0", "books").without("x-concord-practice");
    let mut stream = Listening::open(&backend, from_earliest()).await;
    let mut told = BTreeSet::new();
    while told.len() < outcomes.changes.len() {
        for event in stream.events().await {
            assert!(told.insert(event.change_id), "told twice");
        }
    }
    assert_eq!(told, outcomes.changes);
    let more = timeout(Duration::from_secs(1), stream.events()).await;
    assert!(more.is_err(), "nothing else was done: {more:?}");
}
