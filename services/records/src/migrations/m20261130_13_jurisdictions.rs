//! Converts company numbers of the CRO to the format of their register. Before this
//! migration they were padded to the eight digits of Companies House.

use concord_core::rules::{identifier::company_number, terms::Term as _};
use concord_db::{
    Migration,
    MigrationStep::{Code, PostgresOnly},
};
use concord_proto::pb::records::{Client, Jurisdiction};
use prost::Message as _;
use sea_orm::{ConnectionTrait, DbErr, Statement, Value};
use uuid::Uuid;

pub(super) const MIGRATION: Migration = Migration {
    name: "m20261130_13_jurisdictions",
    steps: &[PostgresOnly(ALL_PRACTICES), Code(|db| Box::pin(rewrite(db)))],
};

/// Row-level security applies to the owner of the tables too. Set for the transaction only: a
/// RESET would remove the session's own setting, without which it reads nothing.
const ALL_PRACTICES: &str = "SET LOCAL concord.practice = '*'";

/// Number of clients that are read at once.
const PAGE: usize = 1_000;

async fn rewrite(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let engine = db.get_database_backend();
    let statement =
        |sql: &str, values: Vec<Value>| Statement::from_sql_and_values(engine, sql, values);
    let page = format!(
        "SELECT practice_id, id, company_number, image FROM client
         WHERE practice_id >= $1 AND (practice_id > $1 OR id > $2) AND jurisdiction = $3
         AND company_number IS NOT NULL ORDER BY practice_id, id LIMIT {PAGE}"
    );
    let mut after = (String::new(), Uuid::nil());
    loop {
        let irish = Jurisdiction::Ireland.name();
        let values = vec![after.0.as_str().into(), after.1.into(), irish.into()];
        let rows = db.query_all_raw(statement(&page, values)).await?;
        for row in &rows {
            after = (row.try_get("", "practice_id")?, row.try_get("", "id")?);
            let old: String = row.try_get("", "company_number")?;
            let new = company_number(&old, Jurisdiction::Ireland).ok().flatten();
            let Some(new) = new.filter(|new| *new != old) else { continue };
            let image = row.try_get::<Vec<u8>>("", "image")?;
            let image = with_number(&image, &new)?;
            let scope = || [after.0.as_str().into(), after.1.into()];
            let set = "UPDATE client SET company_number = $3, image = $4
                WHERE practice_id = $1 AND id = $2";
            let values = scope().into_iter().chain([new.as_str().into(), image.into()]);
            db.execute_raw(statement(set, values.collect())).await?;
            // The number is a line of its own, and is matched exactly.
            let set = "UPDATE search_word SET word = $4
                WHERE practice_id = $1 AND record_id = $2 AND word = $3 AND rank = 1";
            let values = scope().into_iter().chain([old.as_str().into(), new.as_str().into()]);
            db.execute_raw(statement(set, values.collect())).await?;
        }
        if rows.len() < PAGE {
            return Ok(());
        }
    }
}

/// The image of a client with another company number.
fn with_number(image: &[u8], number: &str) -> Result<Vec<u8>, DbErr> {
    let client = Client::decode(image);
    let mut client = client.map_err(|_| DbErr::Custom("an image cannot be read".to_owned()))?;
    number.clone_into(&mut client.identifiers.get_or_insert_default().company_number);
    Ok(client.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use concord_core::{
        caller::PracticeId,
        rules::draft::{Identifiers, Reference},
    };
    use concord_db::{Database, TenantScope};
    use concord_proto::pb::records::{ClientIdentifiers, ClientType};
    use concord_testing::{TestDb, storage_tests};
    use sea_orm::prelude::DateTimeUtc;
    use sea_orm_migration::{MigrationTrait as _, SchemaManager};

    use super::*;
    use crate::{
        domain::record::{Client as ClientRow, RecordMeta},
        error::RecordError,
        migrations::Migrator,
        store::{self, clients},
    };

    storage_tests! {
        leading_zeros_are_removed_from_irish_numbers_only,
    }

    /// Inserts a client with a number in the form before this migration.
    async fn old_client(db: &Database, practice: &PracticeId, jurisdiction: Jurisdiction) -> Uuid {
        let (id, of) = (concord_core::ids::new_uuid(), practice.clone());
        let written = db.write(TenantScope::from(practice), move |tx| {
            let practice = of.clone();
            async move {
                let number = "00123456".to_owned();
                let identifiers =
                    Identifiers { company_number: Some(number.clone()), ..Identifiers::default() };
                let client = ClientRow {
                    id,
                    client_type: ClientType::PrivateLimitedCompany,
                    jurisdiction,
                    reference: Reference::parse(jurisdiction.name()).unwrap(),
                    person_id: None,
                    identifiers,
                    emails: Vec::new(),
                    phones: Vec::new(),
                    meta: RecordMeta::new(DateTimeUtc::UNIX_EPOCH),
                };
                let numbers =
                    ClientIdentifiers { company_number: number, ..ClientIdentifiers::default() };
                let image = Client { identifiers: Some(numbers), ..Client::default() };
                let rows = vec![(client, image.encode_to_vec())];
                store::write_now(tx.of(&practice), |batch| clients::insert(batch, rows)).await?;
                let statement = Statement::from_sql_and_values(
                    tx.get_database_backend(),
                    "INSERT INTO search_word (practice_id, word, record_id, line, record_kind, rank,
                       sort_name) VALUES ($1, '00123456', $2, 1, 'CLIENT', 1, '')",
                    [practice.as_str().into(), id.into()],
                );
                tx.execute_raw(statement).await?;
                Ok::<_, RecordError>(())
            }
        });
        written.await.unwrap();
        id
    }

    async fn leading_zeros_are_removed_from_irish_numbers_only(t: TestDb) {
        let db = t.database().await;
        db.migrate::<Migrator>().await.unwrap();
        let practice: PracticeId = "p1".parse().unwrap();
        let irish = old_client(&db, &practice, Jurisdiction::Ireland).await;
        let english = old_client(&db, &practice, Jurisdiction::EnglandWales).await;
        let other: PracticeId = "p2".parse().unwrap();
        let migrated = db.write(TenantScope::from(&other), |tx| async move {
            MIGRATION.up(&SchemaManager::new(&*tx)).await
        });
        migrated.await.unwrap();
        for (id, number) in [(irish, "123456"), (english, "00123456")] {
            let found = db.reader().query_one_raw(Statement::from_sql_and_values(
                db.reader().get_database_backend(),
                "SELECT c.company_number, c.image, s.word FROM client c JOIN search_word s
                   ON s.practice_id = c.practice_id AND s.record_id = c.id
                 WHERE c.practice_id = 'p1' AND c.id = $1",
                [id.into()],
            ));
            let found = found.await.unwrap().unwrap();
            let text = |column: &str| found.try_get::<String>("", column).unwrap();
            assert_eq!([text("company_number"), text("word")], [number, number]);
            let image = Client::decode(&*found.try_get::<Vec<u8>>("", "image").unwrap()).unwrap();
            assert_eq!(image.identifiers.unwrap().company_number, number);
        }
    }
}
