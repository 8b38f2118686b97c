//! Indexes of match keys: find possible duplicates of a record, the oldest first.

use concord_core::rules::{match_key, value::PersonName};
use concord_db::{
    Migration,
    MigrationStep::{Code, Sql},
};
use concord_proto::pb::records::Person;
use prost::Message as _;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, prelude::Date};
use uuid::Uuid;

pub(super) const MIGRATION: Migration = Migration {
    name: "m20261126_07_likeness",
    steps: &[Sql(COLUMN), Code(|db| Box::pin(fill(db))), Sql(INDEXES)],
};

/// `likeness`: the match key of a person, its normalised name and date of birth.
const COLUMN: &str = "
ALTER TABLE person ADD COLUMN likeness {key};
";

/// The indexes include the id, so that the oldest record is the first in an index.
const INDEXES: &str = "
CREATE INDEX person_likeness ON person (practice_id, likeness, id) WHERE likeness IS NOT NULL;
DROP INDEX person_birth_date;
DROP INDEX client_company_number;
CREATE INDEX client_company_number ON client (practice_id, company_number, id)
  WHERE company_number IS NOT NULL;
DROP INDEX client_utr;
CREATE INDEX client_utr ON client (practice_id, utr, id) WHERE utr IS NOT NULL;
DROP INDEX client_vat_number;
CREATE INDEX client_vat_number ON client (practice_id, vat_number, id)
  WHERE vat_number IS NOT NULL;
";

/// Number of persons that are read at once.
const PAGE: usize = 1_000;

/// Fills the column from the images.
async fn fill(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let engine = db.get_database_backend();
    let mut after = (String::new(), Uuid::nil());
    loop {
        let page = format!(
            "SELECT practice_id, id, birth_date, image FROM person
             WHERE practice_id >= $1 AND (practice_id > $1 OR id > $2)
             ORDER BY practice_id, id LIMIT {PAGE}"
        );
        let values = [after.0.as_str().into(), after.1.into()];
        let rows = db.query_all_raw(Statement::from_sql_and_values(engine, page, values)).await?;
        for row in &rows {
            after = (row.try_get("", "practice_id")?, row.try_get("", "id")?);
            if let Some(likeness) = likeness_of(row)? {
                let set = "UPDATE person SET likeness = $1 WHERE practice_id = $2 AND id = $3";
                let values = [likeness.into(), after.0.as_str().into(), after.1.into()];
                db.execute_raw(Statement::from_sql_and_values(engine, set, values)).await?;
            }
        }
        if rows.len() < PAGE {
            return Ok(());
        }
    }
}

fn likeness_of(row: &QueryResult) -> Result<Option<String>, DbErr> {
    let birth_date: Option<Date> = row.try_get("", "birth_date")?;
    let image: Vec<u8> = row.try_get("", "image")?;
    let person = Person::decode(image.as_slice());
    let person = person.map_err(|_| DbErr::Custom("an image cannot be read".to_owned()))?;
    let name = person.name.as_ref().map(PersonName::from);
    let likeness = name.and_then(|name| match_key::of_person(&name, birth_date));
    Ok(likeness.map(|likeness| likeness.value))
}

#[cfg(test)]
mod tests {
    use concord_core::caller::PracticeId;
    use concord_db::{Database, TenantScope};
    use concord_testing::{TestDb, storage_tests};

    use super::*;
    use crate::{
        domain::record::{Person as PersonRow, RecordMeta},
        error::RecordError,
        migrations::Migrator,
        store::{self, persons},
    };

    storage_tests! {
        match_keys_of_existing_persons_are_filled_in,
    }

    /// Inserts more than a page of persons in the form before this migration, every other
    /// one without a date of birth.
    async fn old_persons(db: &Database, practice: PracticeId) {
        let scope = TenantScope::from(&practice);
        let written = db.write(scope, move |tx| {
            let practice = practice.clone();
            async move {
                let name = concord_proto::pb::records::PersonName {
                    surname: "Smith".to_owned(),
                    ..concord_proto::pb::records::PersonName::default()
                };
                let image = Person { name: Some(name), ..Person::default() };
                let person = |n: usize| PersonRow {
                    id: concord_core::ids::new_uuid(),
                    birth_date: Date::from_ymd_opt(1975, 5, 5).filter(|_| n.is_multiple_of(2)),
                    nino: None,
                    ppsn: None,
                    emails: Vec::new(),
                    phones: Vec::new(),
                    meta: RecordMeta::new(sea_orm::prelude::DateTimeUtc::UNIX_EPOCH),
                };
                let rows = (0..PAGE + 10).map(|n| (person(n), &image)).collect();
                store::write_now(tx.of(&practice), |batch| persons::insert(batch, rows)).await?;
                tx.execute_unprepared("UPDATE person SET likeness = NULL").await?;
                Ok::<_, RecordError>(())
            }
        });
        written.await.unwrap();
    }

    async fn match_keys_of_existing_persons_are_filled_in(t: TestDb) {
        let db = t.database().await;
        db.migrate::<Migrator>().await.unwrap();
        for practice in ["p1", "p2"] {
            old_persons(&db, practice.parse().unwrap()).await;
        }
        db.write(TenantScope::AllPractices, |tx| async move { fill(&*tx).await }).await.unwrap();
        for practice in ["p1", "p2"] {
            let name = concord_core::rules::value::PersonName {
                surname: "SMITH".to_owned(),
                ..concord_core::rules::value::PersonName::default()
            };
            let smith = match_key::of_person(&name, Date::from_ymd_opt(1975, 5, 5)).unwrap();
            let practice: PracticeId = practice.parse().unwrap();
            let found = persons::ids_by_match_key(db.reader_of(&practice), &smith, 2_000).await;
            assert_eq!(found.unwrap().len(), PAGE / 2 + 5);
        }
    }
}
