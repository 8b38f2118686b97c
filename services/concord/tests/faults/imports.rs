//! Processes of both services are killed or paused at every point of an import: the result is
//! the same as without faults, and no record is duplicated.
//!
//! To run a thousand kills, 500 on each engine:
//!
//! ```console
//! CONCORD_IMPORT_KILLS=500 cargo test --release -p concord --test faults imports
//! ```

use std::collections::{BTreeMap, BTreeSet};

use concord_testing::{TestDb, storage_tests};

use crate::{
    deployment::Deployment,
    points::{Point, Points},
    replica::Replica,
};
use concord_testing::e2e::{
    failure::Failure,
    rng::{SeededRng, setting},
};

storage_tests! { import_survives_killed_and_paused_processes }

/// The default number of kills on each engine; `CONCORD_IMPORT_KILLS` overrides it.
const KILLS: usize = 60;

/// The maximum delay between the detection of a point and the kill.
const MAX_DELAY_MS: usize = 20;

/// The maximum time that a worker is paused.
const MAX_PAUSE_MS: usize = 600;

/// The errors of callers: a lost connection, or a request to retry.
const EXPECTED: &[Failure] = &[Failure::ConnectionLost, Failure::Retryable];

/// The practice that is imported without faults.
const REFERENCE: &str = "reference";

async fn import_survives_killed_and_paused_processes(db: TestDb) {
    let mut rng = SeededRng::from_env();
    // An SQLite file has one process; `imports_url` is the database of the imports.
    let count = if db.is_postgres() { 2 } else { 1 };
    let imports_url = db.url().replace("test.db", "imports.db");
    let mut deployment = Deployment::start([db.url(), &imports_url], count, &mut rng);
    let points = Points::of(&db).await;
    let (driver, _) = deployment.driver(REFERENCE, EXPECTED, &mut rng).await;
    let expected = driver.run().await;
    let clients = deployment.clients(REFERENCE).await;

    let (wanted, mut kills) = (setting("CONCORD_IMPORT_KILLS", KILLS), BTreeMap::new());
    let mut practices = BTreeSet::from([REFERENCE.to_owned()]);
    while kills.values().sum::<usize>() < wanted {
        let practice = format!("p{}", practices.len());
        let (driver, mut steps) = deployment.driver(&practice, EXPECTED, &mut rng).await;
        let driver = tokio::spawn(driver.run());
        // Each point once or twice, unless it passes too fast.
        let plan = Point::ALL.map(|point| vec![point; 1 + rng.below(2)]).concat();
        for point in plan.into_iter().take(wanted - kills.values().sum::<usize>()) {
            if points.reached(point, &practice, &mut steps).await {
                tokio::time::sleep(rng.millis(MAX_DELAY_MS)).await;
                inject_fault(&mut deployment, &points, &mut rng).await;
                *kills.entry(point).or_default() += 1;
            }
        }
        deployment.all().for_each(Replica::wait_until_listening);
        assert_eq!(driver.await.unwrap(), expected, "the same as without kills");
        assert_eq!(deployment.clients(&practice).await, clients, "no duplicate client");
        practices.insert(practice);
    }
    eprintln!("{} imports, kills: {kills:?}", practices.len() - 1);
    assert!(wanted < KILLS || kills.len() == Point::ALL.len(), "a kill at every point: {kills:?}");
    deployment.check_feed(&practices, expected[0].counters.imported).await;
    deployment.check_logs();
}

/// Kills one or both services, and restarts them; or, with several workers, pauses one until its
/// lease has expired, so that another worker takes over.
async fn inject_fault(deployment: &mut Deployment, points: &Points, rng: &mut SeededRng) {
    let replicas = deployment.imports.len();
    let (which, at) = (rng.below(if replicas > 1 { 4 } else { 3 }), rng.below(replicas));
    if which == 3 {
        deployment.imports[at].pause();
        let pause = rng.millis(MAX_PAUSE_MS);
        let ((), ended) = tokio::join!(
            tokio::time::sleep(pause),
            tokio::time::timeout(pause, points.expire_leases()),
        );
        deployment.imports[at].resume();
        if ended.is_err() {
            // The paused worker held the lock of the import's row.
            points.expire_leases().await;
        }
        return;
    }
    if which != 0 {
        deployment.imports[at].kill();
        points.expire_leases().await;
    }
    if which != 1 {
        deployment.records[0].kill();
    }
    deployment.all().for_each(Replica::restart_if_ended);
}
