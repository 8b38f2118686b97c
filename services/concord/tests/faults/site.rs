//! Both services as processes, and what is to be found in them afterwards.

use std::collections::BTreeSet;

use shared::pb::records::ListClientsRequest;
use tokio::sync::watch;

use crate::{
    driver::{Driver, Step},
    kills::{callers, whole_feed},
    replica::Replica,
    support::{dice::Dice, failure::Failure},
};

/// The processes of both services.
pub(crate) struct Site {
    pub(crate) records: [Replica; 1],
    pub(crate) imports: Vec<Replica>,
}

impl Site {
    /// One process of the records service, and so many of the imports service.
    pub(crate) fn start(databases: [&str; 2], imports: usize, dice: &mut Dice) -> Self {
        let records = Replica::start(databases[0], dice);
        let url = records.url();
        let imports = (0..imports).map(|_| Replica::imports(databases[1], &url, dice)).collect();
        Self { imports, records: [records] }
    }

    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.records.iter_mut().chain(&mut self.imports)
    }

    /// Whoever imports into a practice, with both products connected; and how far
    /// it has come.
    pub(crate) async fn driver(
        &self,
        practice: &str,
        expected: &'static [Failure],
        dice: &mut Dice,
    ) -> (Driver, watch::Receiver<Step>) {
        for product in ["manager", "books"] {
            self.records[0].owner(practice, product).connect().await;
        }
        let replicas = callers(&self.imports, "manager", Some(practice));
        Driver::new(replicas, expected, dice.fork())
    }

    /// The references of the clients of a practice, each as often as it is there.
    pub(crate) async fn clients(&self, practice: &str) -> Vec<String> {
        let manager = self.records[0].owner(practice, "manager");
        let request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
        let listed = manager.clients().list_clients(request).await.unwrap().into_inner();
        assert_eq!(listed.next_page_token, "");
        let mut clients: Vec<_> = listed.clients.into_iter().map(|c| c.client_reference).collect();
        clients.sort();
        clients
    }

    /// Another product hears of every imported record once.
    pub(crate) async fn check_feed(&self, practices: &BTreeSet<String>, imported: i64) {
        let count = i64::try_from(practices.len()).unwrap() * imported;
        let feed = whole_feed(&callers(&self.records, "books", None)[0], count).await;
        let positions: Vec<_> = feed.iter().map(|heard| heard.position).collect();
        assert_eq!(positions, (1..=count).collect::<Vec<_>>(), "no gap, and nothing twice");
        let changes: BTreeSet<_> = feed.iter().map(|heard| &heard.change).collect();
        assert_eq!(changes.len(), feed.len(), "a change once");
        // An address is a version of its owner.
        let versions: BTreeSet<_> =
            feed.iter().map(|heard| (&heard.record, heard.version)).collect();
        assert_eq!(versions.len(), feed.len(), "a version once");
        for practice in practices {
            let own = feed.iter().filter(|heard| heard.practice == *practice).count();
            assert_eq!(i64::try_from(own).unwrap(), imported, "{practice}");
        }
    }

    /// Nothing went wrong in them that nobody expects.
    pub(crate) fn check_logs(&mut self) {
        for replica in self.all() {
            assert!(!replica.log().contains("panicked"), "{}", replica.log());
            assert!(!replica.log().contains("internal error"), "{}", replica.log());
        }
    }
}
