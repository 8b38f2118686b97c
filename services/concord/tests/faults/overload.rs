//! Overload: a replica that receives ten times its capacity keeps serving, sheds the excess with
//! clear errors, stays healthy, bounds its memory, loses no acknowledged write, and recovers at
//! once.
//!
//! To run it for a minute instead of ten seconds:
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

use concord_proto::pb::records::GetClientRequest;
use concord_testing::{TestDb, storage_tests};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{memory::peak, replica::Replica};
use concord_testing::e2e::{
    caller::Caller,
    feed::{EventStream, from_earliest},
    records::{all_clients, company},
    rng::{SeededRng, setting},
};
use load::{Load, Outcomes, closed_loop, is_load_shed, open_loop};

storage_tests! { overload_sheds_excess_calls_and_recovers }

/// The default duration of the overload in seconds; `CONCORD_OVERLOAD_SECONDS` overrides it.
const SECONDS: u64 = 10;

/// The offered load as a multiple of the capacity.
const LOAD_FACTOR: f64 = 10.0;

/// The number of practices: enough to keep each below its rate limit.
const PRACTICES: usize = 16;

/// The number of client connections.
const CONNECTIONS: usize = 32;

/// The minimum throughput under overload, as a fraction of the capacity. The actual throughput
/// is higher, but the load generator uses the same processors.
const MIN_THROUGHPUT: f64 = 0.1;

/// The timeout of a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_mins(1);

/// The maximum growth of memory under overload.
const BUDGET_BYTES: i64 = 256 * 1_024 * 1_024;

/// The timeout for the recovery after the overload.
const RECOVERY: Duration = Duration::from_mins(1);

async fn overload_sheds_excess_calls_and_recovers(db: TestDb) {
    let replica = Replica::start(db.url(), &mut SeededRng::from_env());
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
    let health = HealthMonitor::start(replica.channel());
    let load = Load {
        per_second: rate * LOAD_FACTOR,
        time: Duration::from_secs(setting("CONCORD_OVERLOAD_SECONDS", SECONDS)),
    };
    let overloaded = open_loop(&callers, load).await;
    let growth = peak(&replica) - before;
    let recovery = recovery(&replica, &mut outcomes).await;
    let checks = health.end().await;
    eprintln!(
        "capacity: {rate:.0} pairs of calls a second; overload: {overloaded}; memory grew by \
         {growth} bytes; {checks} health checks; recovered after {recovery:?}"
    );
    assert!(overloaded.refused > 0, "calls were shed");
    let answered = overloaded.answered_per_second(load.time);
    assert!(answered >= 2.0 * rate * MIN_THROUGHPUT, "{answered} calls a second");
    assert!(growth < BUDGET_BYTES, "memory grew by {growth} bytes");

    outcomes.add(overloaded);
    check_records(&replica, &practices, &outcomes).await;
    check_feed(&replica, &outcomes).await;
    let log = replica.log();
    assert!(!log.contains("ERROR"), "{log}");
}

/// Waits until a call succeeds again. Returns how long it took.
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
            Err(status) => assert!(is_load_shed(&status), "{status:?}"),
        }
        assert!(began.elapsed() < RECOVERY, "the replica does not recover");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Checks the health of the replica continuously.
struct HealthMonitor {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl HealthMonitor {
    fn start(channel: Channel) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut checks = 0;
            while !stopped.is_cancelled() {
                let request =
                    HealthCheckRequest { service: "concord.records.v1.ClientService".into() };
                let mut client = HealthClient::new(channel.clone());
                let answer = timeout(HEALTH_TIMEOUT, client.check(request)).await;
                let answer = answer.expect("a health response in time").unwrap().into_inner();
                assert_eq!(answer.status(), ServingStatus::Serving);
                checks += 1;
                sleep(Duration::from_millis(200)).await;
            }
            checks
        });
        Self { stop, task }
    }

    /// Stops the checks. Returns their number.
    async fn end(self) -> usize {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

/// Checks that exactly the acknowledged clients exist: a shed call has no effect.
async fn check_records(replica: &Replica, practices: &[String], outcomes: &Outcomes) {
    for practice in practices {
        let manager = replica.owner(practice, "manager");
        let clients = all_clients(&manager).await;
        let count = clients.len();
        let listed: BTreeMap<_, _> =
            clients.into_iter().map(|one| (one.client_reference, one.id)).collect();
        assert_eq!(count, listed.len(), "no duplicate reference in {practice}");
        let acknowledged = outcomes.clients.get(practice).cloned().unwrap_or_default();
        assert_eq!(listed, acknowledged, "{practice}");
        if let Some((reference, _)) = acknowledged.first_key_value() {
            let request = GetClientRequest { client: format!("ref:{reference}") };
            manager.clients().get_client(request).await.unwrap();
        }
    }
}

/// Checks that another product receives each change once.
async fn check_feed(replica: &Replica, outcomes: &Outcomes) {
    let backend: Caller = replica.owner("p0", "books").without("x-concord-practice");
    let mut stream = EventStream::open(&backend, from_earliest()).await;
    let mut received = BTreeSet::new();
    while received.len() < outcomes.changes.len() {
        for event in stream.events().await {
            assert!(received.insert(event.change_id), "duplicate change");
        }
    }
    assert_eq!(received, outcomes.changes);
    let more = timeout(Duration::from_secs(1), stream.events()).await;
    assert!(more.is_err(), "unexpected change: {more:?}");
}
