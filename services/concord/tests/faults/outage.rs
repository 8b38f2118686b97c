//! PostgreSQL, with the databases of both services, crashes and recovers during an import: no
//! process needs a restart, and the result is the same as without a crash.
//!
//! To run more than three crashes, one in each step:
//!
//! ```console
//! CONCORD_IMPORT_CRASHES=50 cargo test --release -p concord --test faults outage
//! ```

use std::collections::BTreeSet;

use concord_testing::postgres_url;

use crate::{deployment::Deployment, driver::Step, postgres_server::PostgresServer};
use concord_testing::e2e::{
    failure::Failure,
    rng::{SeededRng, setting},
};

/// The default number of crashes; `CONCORD_IMPORT_CRASHES` overrides it.
const CRASHES: usize = 3;

/// The maximum delay from the start of a step to its crash.
const MAX_DELAY_MS: usize = 150;

/// The maximum duration of an outage.
const MAX_OUTAGE_MS: usize = 1_500;

/// The errors of callers during an outage: replicas stay up, and ask for a retry.
const EXPECTED: &[Failure] = &[Failure::Retryable];

/// The practice that is imported without faults.
const REFERENCE: &str = "reference";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_survives_database_crashes() {
    if postgres_url().is_none() {
        return;
    }
    let mut rng = SeededRng::from_env();
    let postgres = PostgresServer::start();
    let mut deployment = Deployment::start([postgres.url(); 2], 2, &mut rng);
    let (driver, _) = deployment.driver(REFERENCE, EXPECTED, &mut rng).await;
    let expected = driver.run().await;
    let clients = deployment.clients(REFERENCE).await;

    let (wanted, mut crashes) = (setting("CONCORD_IMPORT_CRASHES", CRASHES), 0);
    let mut practices = BTreeSet::from([REFERENCE.to_owned()]);
    while crashes < wanted {
        let practice = format!("p{}", practices.len());
        let (driver, mut steps) = deployment.driver(&practice, EXPECTED, &mut rng).await;
        let driver = tokio::spawn(driver.run());
        for step in [Step::Upload, Step::Work, Step::Retry] {
            // An error means that the import has ended.
            if crashes == wanted || steps.wait_for(|now| *now >= step).await.is_err() {
                break;
            }
            tokio::time::sleep(rng.millis(MAX_DELAY_MS)).await;
            postgres.crash();
            tokio::time::sleep(rng.millis(MAX_OUTAGE_MS)).await;
            postgres.restart();
            crashes += 1;
        }
        assert_eq!(driver.await.unwrap(), expected, "the same as without crashes");
        assert_eq!(deployment.clients(&practice).await, clients, "no duplicate client");
        practices.insert(practice);
    }
    eprintln!("{} imports, {crashes} crashes", practices.len() - 1);
    deployment.check_feed(&practices, expected[0].counters.imported).await;
    for replica in deployment.all() {
        assert!(!replica.has_ended(), "{}", replica.log());
    }
    deployment.check_logs();
}
