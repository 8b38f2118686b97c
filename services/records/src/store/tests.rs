//! How SQLite, which chooses without knowing the tables, finds the rows of a page: by
//! an index that leaves few of them, not by a walk through the practice.

use std::sync::{Arc, Mutex};

use sea_orm::{ConnectionTrait as _, Statement};
use shared::{db::Database, ids::new_uuid, testing::TestDb};

use super::*;
use crate::{
    feed::tail::BATCH_EVENTS,
    migrations::Migrator,
    store::feed::{lag, read},
};

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Statement>>>);

impl Seen {
    /// The plan of the statement that was run last.
    async fn plan(&self, db: &Database) -> String {
        let asked = self.0.lock().unwrap().last().cloned().unwrap();
        let plan = Statement { sql: format!("EXPLAIN QUERY PLAN {}", asked.sql), ..asked };
        let rows = db.reader().query_all_raw(plan).await.unwrap();
        let lines = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }
}

async fn watched(t: &TestDb) -> (Database, Seen) {
    let seen = Seen::default();
    let notes = seen.clone();
    let note = move |statement: &Statement| notes.0.lock().unwrap().push(statement.clone());
    let db = Database::connect(&t.settings().observed(note)).await.unwrap();
    db.migrate::<Migrator>().await.unwrap();
    (db, seen)
}

#[tokio::test]
async fn the_changes_of_practices_are_found_by_their_index() {
    let t = TestDb::sqlite();
    let (db, seen) = watched(&t).await;
    let product = "books".parse().unwrap();
    let by_practice = "USING INDEX feed_entry_practice (product=? AND practice_id=? AND pos>?)";
    let covered =
        "USING COVERING INDEX feed_entry_practice (product=? AND practice_id=? AND pos>?)";
    for count in [0, 1, 2, 100] {
        let practices: Vec<_> = (0..count).map(|n| format!("p{n}").parse().unwrap()).collect();
        read(db.reader(), &product, 5, BATCH_EVENTS, &practices).await.unwrap();
        let plan = seen.plan(&db).await;
        // All are in the order of the index: none is read that is not sent. The last
        // sorting is of the batch.
        assert!(!plan.contains("SCAN e"), "{plan}");
        assert_eq!(plan.matches(by_practice).count(), count, "{plan}");
        let sorts = plan.matches("USE TEMP B-TREE FOR ORDER BY").count();
        assert!(sorts <= 1, "{plan}");
        lag::lag(db.reader(), &product, 5, &practices).await.unwrap_err();
        let plan = seen.plan(&db).await;
        assert!(!plan.contains("SCAN e") && !plan.contains("B-TREE"), "{plan}");
        assert_eq!(plan.matches(by_practice).count(), count, "{plan}");
        assert_eq!(plan.matches(covered).count(), count, "{plan}");
    }
}

#[tokio::test]
async fn a_page_is_found_by_its_index() {
    let t = TestDb::sqlite();
    let (db, seen) = watched(&t).await;
    let (practice, id) = ("p1".parse().unwrap(), new_uuid());

    for (of, index) in [
        (contacts::PageOf::Client(id), "INDEX contact_place (practice_id=? AND client_id=?)"),
        (contacts::PageOf::Person(id), "INDEX contact_person (practice_id=? AND person_id=?)"),
    ] {
        contacts::page(db.reader(), &practice, of, Some(id), 10).await.unwrap();
        let plan = seen.plan(&db).await;
        assert!(plan.contains(index), "{plan}");
    }

    let which = clients::PageOf {
        after: Some(id),
        linked_product: Some("ap".to_owned()),
        ..clients::PageOf::default()
    };
    clients::page(db.reader(), &practice, &which, 10).await.unwrap();
    let plan = seen.plan(&db).await;
    assert!(plan.contains("(practice_id=? AND id>?)"), "{plan}");
    assert!(plan.contains("(practice_id=? AND record_id=? AND product=?)"), "{plan}");
    assert!(!plan.contains("LIST") && !plan.contains("B-TREE"), "{plan}");
}
