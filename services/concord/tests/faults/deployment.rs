//! Both services as processes, with checks of their data.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::{
    driver::{Driver, Step},
    kills::{callers, whole_feed},
    replica::Replica,
};
use concord_testing::e2e::{failure::Failure, records::all_clients, rng::SeededRng};

/// The replicas of both services.
pub(crate) struct Deployment {
    pub(crate) records: [Replica; 1],
    pub(crate) imports: Vec<Replica>,
}

impl Deployment {
    /// Starts one replica of the records service, and a number of the imports service.
    pub(crate) fn start(databases: [&str; 2], imports: usize, rng: &mut SeededRng) -> Self {
        let records = Replica::start(databases[0], rng);
        let url = records.url();
        let imports = (0..imports).map(|_| Replica::imports(databases[1], &url, rng)).collect();
        Self { imports, records: [records] }
    }

    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.records.iter_mut().chain(&mut self.imports)
    }

    /// A driver for a practice with both products connected, and a receiver of its current step.
    pub(crate) async fn driver(
        &self,
        practice: &str,
        expected: &'static [Failure],
        rng: &mut SeededRng,
    ) -> (Driver, watch::Receiver<Step>) {
        for product in ["manager", "books"] {
            self.records[0].owner(practice, product).connect().await;
        }
        let replicas = callers(&self.imports, "manager", Some(practice));
        Driver::new(replicas, expected, rng.fork())
    }

    /// The references of the clients of a practice, including duplicates.
    pub(crate) async fn clients(&self, practice: &str) -> Vec<String> {
        let manager = self.records[0].owner(practice, "manager");
        let listed = all_clients(&manager).await.into_iter();
        let mut clients: Vec<_> = listed.map(|client| client.client_reference).collect();
        clients.sort();
        clients
    }

    /// Checks that another product receives every imported record once.
    pub(crate) async fn check_feed(&self, practices: &BTreeSet<String>, imported: i64) {
        let count = i64::try_from(practices.len()).unwrap() * imported;
        let feed = whole_feed(&callers(&self.records, "books", None)[0], count).await;
        let positions: Vec<_> = feed.iter().map(|event| event.position).collect();
        assert_eq!(positions, (1..=count).collect::<Vec<_>>(), "no gap and no duplicate position");
        let changes: BTreeSet<_> = feed.iter().map(|event| &event.change).collect();
        assert_eq!(changes.len(), feed.len(), "no duplicate change");
        // An imported address is a new version of its owner.
        let versions: BTreeSet<_> =
            feed.iter().map(|event| (&event.record, event.version)).collect();
        assert_eq!(versions.len(), feed.len(), "no duplicate version");
        for practice in practices {
            let own = feed.iter().filter(|event| event.practice == *practice).count();
            assert_eq!(i64::try_from(own).unwrap(), imported, "{practice}");
        }
    }

    /// Checks that the logs have no panic and no internal error.
    pub(crate) fn check_logs(&mut self) {
        self.all().for_each(|replica| replica.check_log());
    }
}
