//! A PostgreSQL that crashes and comes back under an import, with the databases of
//! both services in it: no process has to be started again, and every record ends
//! as it does without a crash.
//!
//! More crashes than the three, which are one in each step:
//!
//! ```console
//! CONCORD_IMPORT_CRASHES=50 cargo test --release -p concord --test faults outage
//! ```

use std::collections::BTreeSet;

use shared::testing::postgres_url;

use crate::{
    cluster::Cluster,
    driver::Step,
    site::Site,
    support::{
        dice::{Dice, setting},
        failure::Failure,
    },
};

/// Crashes, unless `CONCORD_IMPORT_CRASHES` says otherwise.
const CRASHES: usize = 3;

/// The longest time from the beginning of a step to its crash.
const PAUSE_MS: usize = 150;

/// How long the database is away at the most.
const AWAY_MS: usize = 1_500;

/// All that callers meet when the database is away: the replicas stay up, and ask
/// for the call again.
const EXPECTED: &[Failure] = &[Failure::Later];

/// The practice that is imported without a crash.
const CALM: &str = "calm";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_outlives_crashes_of_its_database() {
    if postgres_url().is_none() {
        return;
    }
    let mut dice = Dice::of_this_run();
    let cluster = Cluster::start();
    let mut site = Site::start([cluster.url(); 2], 2, &mut dice);
    let (driver, _) = site.driver(CALM, EXPECTED, &mut dice).await;
    let expected = driver.run().await;
    let clients = site.clients(CALM).await;

    let (wanted, mut crashes) = (setting("CONCORD_IMPORT_CRASHES", CRASHES), 0);
    let mut practices = BTreeSet::from([CALM.to_owned()]);
    while crashes < wanted {
        let practice = format!("p{}", practices.len());
        let (driver, mut steps) = site.driver(&practice, EXPECTED, &mut dice).await;
        let driver = tokio::spawn(driver.run());
        for step in [Step::Upload, Step::Work, Step::Retry] {
            // An error when the import has ended.
            if crashes == wanted || steps.wait_for(|now| *now >= step).await.is_err() {
                break;
            }
            tokio::time::sleep(dice.millis(PAUSE_MS)).await;
            cluster.crash();
            tokio::time::sleep(dice.millis(AWAY_MS)).await;
            cluster.start_again();
            crashes += 1;
        }
        assert_eq!(driver.await.unwrap(), expected, "as without crashes");
        assert_eq!(site.clients(&practice).await, clients, "each client once");
        practices.insert(practice);
    }
    eprintln!("{} imports, {crashes} crashes", practices.len() - 1);
    site.check_feed(&practices, expected[0].counters.imported).await;
    for replica in site.all() {
        assert!(!replica.has_ended(), "{}", replica.log());
    }
    site.check_logs();
}
