//! The lookup of match keys, on both engines: one index lookup for each key.

use concord_testing::{TestDb, storage_tests};

use super::*;
use crate::migrations::Migrator;

storage_tests! {
    each_match_key_is_looked_up_by_its_index,
}

async fn each_match_key_is_looked_up_by_its_index(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let all = MatchField::ALL.map(|field| MatchKey { field, value: "1".to_owned() });
    let all: Vec<&MatchKey> = all.iter().collect();
    let (explain, column) =
        if t.is_postgres() { ("EXPLAIN", "QUERY PLAN") } else { ("EXPLAIN QUERY PLAN", "detail") };
    let practice = "p1".parse().unwrap();
    let plan = |sql: &mut TenantBinds<'_>| format!("{explain} {}", oldest_sql(sql, &all));
    let rows = db.reader_of(&practice).query(plan).await.unwrap();
    let lines = rows.iter().map(|row| row.try_get::<String>("", column).unwrap());
    let plan = lines.collect::<Vec<_>>().join("\n");
    for index in ["client_company_number", "client_utr", "client_vat_number", "person_likeness"] {
        assert!(plan.contains(index), "{plan}");
    }
    // The index has the order: no sort, and no other record is read.
    assert!(!plan.to_lowercase().contains("b-tree") && !plan.contains("Sort"), "{plan}");
}
