//! Both services killed, one of them or both, or put to sleep, at every point of
//! an import: every record ends as it does without, and none comes twice.
//!
//! A thousand times, 500 on each engine, takes a while:
//!
//! ```console
//! CONCORD_IMPORT_KILLS=500 cargo test --release -p concord --test faults imports
//! ```

use std::collections::{BTreeMap, BTreeSet};

use shared::testing::{TestDb, storage_tests};

use crate::{
    points::{Point, Points},
    replica::Replica,
    site::Site,
    support::{
        dice::{Dice, setting},
        failure::Failure,
    },
};

storage_tests! { an_import_outlives_the_processes_that_run_it }

/// Kills on each engine, unless `CONCORD_IMPORT_KILLS` says otherwise.
const KILLS: usize = 60;

/// The longest time from the moment at which an import is seen to be at a point to
/// the kill.
const PAUSE_MS: usize = 20;

/// How long a worker sleeps at the most.
const SLEEP_MS: usize = 600;

/// All that a caller meets: the service says nothing, or asks for the call again.
const EXPECTED: &[Failure] = &[Failure::Cut, Failure::Later];

/// The practice that is imported without a kill.
const CALM: &str = "calm";

async fn an_import_outlives_the_processes_that_run_it(db: TestDb) {
    let mut dice = Dice::of_this_run();
    // One process owns an SQLite file; `beside` names that of the imports.
    let count = if db.is_postgres() { 2 } else { 1 };
    let beside = db.url().replace("test.db", "imports.db");
    let mut site = Site::start([db.url(), &beside], count, &mut dice);
    let points = Points::of(&db).await;
    let (driver, _) = site.driver(CALM, EXPECTED, &mut dice).await;
    let expected = driver.run().await;
    let clients = site.clients(CALM).await;

    let (wanted, mut kills) = (setting("CONCORD_IMPORT_KILLS", KILLS), BTreeMap::new());
    let mut practices = BTreeSet::from([CALM.to_owned()]);
    while kills.values().sum::<usize>() < wanted {
        let practice = format!("p{}", practices.len());
        let (driver, mut steps) = site.driver(&practice, EXPECTED, &mut dice).await;
        let driver = tokio::spawn(driver.run());
        // At every point once or twice, unless it is passed too soon.
        let plan = Point::ALL.map(|point| vec![point; 1 + dice.below(2)]).concat();
        for point in plan.into_iter().take(wanted - kills.values().sum::<usize>()) {
            if points.reached(point, &practice, &mut steps).await {
                tokio::time::sleep(dice.millis(PAUSE_MS)).await;
                hurt(&mut site, &points, &mut dice).await;
                *kills.entry(point).or_default() += 1;
            }
        }
        site.all().for_each(Replica::wait_until_it_listens);
        assert_eq!(driver.await.unwrap(), expected, "as without kills");
        assert_eq!(site.clients(&practice).await, clients, "each client once");
        practices.insert(practice);
    }
    eprintln!("{} imports, kills: {kills:?}", practices.len() - 1);
    assert!(wanted < KILLS || kills.len() == Point::ALL.len(), "at every point: {kills:?}");
    site.check_feed(&practices, expected[0].counters.imported).await;
    site.check_logs();
}

/// Kills one of the services, or both, and starts what was killed again; or has a
/// worker sleep, where another one can take its place.
async fn hurt(site: &mut Site, points: &Points, dice: &mut Dice) {
    let replicas = site.imports.len();
    let (which, at) = (dice.below(if replicas > 1 { 4 } else { 3 }), dice.below(replicas));
    if which == 3 {
        site.imports[at].freeze();
        let sleep = dice.millis(SLEEP_MS);
        let ((), ended) = tokio::join!(
            tokio::time::sleep(sleep),
            tokio::time::timeout(sleep, points.end_leases()),
        );
        site.imports[at].thaw();
        if ended.is_err() {
            // The sleeper held the import's row.
            points.end_leases().await;
        }
        return;
    }
    if which != 0 {
        site.imports[at].kill();
        points.end_leases().await;
    }
    if which != 1 {
        site.records[0].kill();
    }
    site.all().for_each(Replica::revive);
}
