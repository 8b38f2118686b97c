//! The query plans of SQLite, which has no planner statistics: pages are read by a
//! selective index, not by a scan of the practice.

use std::sync::{Arc, Mutex};

use concord_core::ids::new_uuid;
use concord_db::Database;
use concord_testing::TestDb;
use sea_orm::{ConnectionTrait as _, Statement};

use super::*;
use crate::{
    feed::tail::BATCH_EVENTS,
    migrations::Migrator,
    store::feed::{lag, read},
};

#[derive(Clone, Default)]
struct StatementLog(Arc<Mutex<Vec<Statement>>>);

impl StatementLog {
    /// The query plan of the last statement.
    async fn plan(&self, db: &Database) -> String {
        let statement = self.0.lock().unwrap().last().cloned().unwrap();
        let plan = Statement { sql: format!("EXPLAIN QUERY PLAN {}", statement.sql), ..statement };
        let rows = db.reader().query_all_raw(plan).await.unwrap();
        let lines = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }
}

async fn database_with_log(t: &TestDb) -> (Database, StatementLog) {
    let log = StatementLog::default();
    let sink = log.clone();
    let observe = move |statement: &Statement| sink.0.lock().unwrap().push(statement.clone());
    let db = Database::connect(&t.settings().observed(observe)).await.unwrap();
    db.migrate::<Migrator>().await.unwrap();
    (db, log)
}

#[tokio::test]
async fn feed_read_of_practices_uses_practice_index() {
    let t = TestDb::sqlite();
    let (db, log) = database_with_log(&t).await;
    let product = "books".parse().unwrap();
    let by_practice = "USING INDEX feed_entry_practice (product=? AND practice_id=? AND pos>?)";
    let covered =
        "USING COVERING INDEX feed_entry_practice (product=? AND practice_id=? AND pos>?)";
    for count in [0, 1, 2, 100] {
        let practices: Vec<_> = (0..count).map(|n| format!("p{n}").parse().unwrap()).collect();
        read(db.reader(), &product, 5, BATCH_EVENTS, &practices).await.unwrap();
        let plan = log.plan(&db).await;
        // The rows are in the order of the index, so no excess row is read. The only sort
        // is that of the batch.
        assert!(!plan.contains("SCAN e"), "{plan}");
        assert_eq!(plan.matches(by_practice).count(), count, "{plan}");
        let sorts = plan.matches("USE TEMP B-TREE FOR ORDER BY").count();
        assert!(sorts <= 1, "{plan}");
        lag::lag(db.reader(), &product, 5, &practices).await.unwrap_err();
        let plan = log.plan(&db).await;
        assert!(!plan.contains("SCAN e") && !plan.contains("B-TREE"), "{plan}");
        assert_eq!(plan.matches(by_practice).count(), count, "{plan}");
        assert_eq!(plan.matches(covered).count(), count, "{plan}");
    }
}

#[tokio::test]
async fn pages_use_an_index() {
    let t = TestDb::sqlite();
    let (db, log) = database_with_log(&t).await;
    let (practice, id) = ("p1".parse().unwrap(), new_uuid());

    for (of, index) in [
        (contacts::PageOf::Client(id), "INDEX contact_place (practice_id=? AND client_id=?)"),
        (contacts::PageOf::Person(id), "INDEX contact_person (practice_id=? AND person_id=?)"),
    ] {
        contacts::page(db.reader_of(&practice), of, Some(id), 10).await.unwrap();
        let plan = log.plan(&db).await;
        assert!(plan.contains(index), "{plan}");
    }

    let which = clients::PageOf {
        after: Some(id),
        linked_product: Some("ap".to_owned()),
        ..clients::PageOf::default()
    };
    clients::page(db.reader_of(&practice), &which, 10).await.unwrap();
    let plan = log.plan(&db).await;
    assert!(plan.contains("(practice_id=? AND id>?)"), "{plan}");
    assert!(plan.contains("(practice_id=? AND record_id=? AND product=?)"), "{plan}");
    assert!(!plan.contains("LIST") && !plan.contains("B-TREE"), "{plan}");
}
