//! The statement, on both engines: each likeness is one look at an index.

use shared::testing::{TestDb, storage_tests};

use super::*;
use crate::migrations::Migrator;

storage_tests! {
    each_likeness_is_looked_up_by_its_index,
}

async fn each_likeness_is_looked_up_by_its_index(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let all = Trait::ALL.map(|of| Likeness { of, value: "1".to_owned() });
    let all: Vec<&Likeness> = all.iter().collect();
    let asked = statement(db.engine(), &"p1".parse().unwrap(), &all);
    let explain = match db.engine() {
        DbBackend::Sqlite => "EXPLAIN QUERY PLAN",
        _ => "EXPLAIN",
    };
    let plan = Statement { sql: format!("{explain} {}", asked.sql), ..asked };
    let column = if t.is_postgres() { "QUERY PLAN" } else { "detail" };
    let rows = db.reader().query_all_raw(plan).await.unwrap();
    let lines = rows.iter().map(|row| row.try_get::<String>("", column).unwrap());
    let plan = lines.collect::<Vec<_>>().join("\n");
    for index in ["client_company_number", "client_utr", "client_vat_number", "person_likeness"] {
        assert!(plan.contains(index), "{plan}");
    }
    // In the order of the index: nothing is sorted, and no other record is read.
    assert!(!plan.to_lowercase().contains("b-tree") && !plan.contains("Sort"), "{plan}");
}
