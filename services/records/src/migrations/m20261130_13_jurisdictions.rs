//! Numbers of the CRO in the form of their register: before this version they were
//! filled up to the eight digits of Companies House.

use prost::Message as _;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value},
};
use shared::{
    pb::records::{Client, Jurisdiction},
    rules::{identifier::company_number, terms::Term as _},
};
use uuid::Uuid;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_13_jurisdictions"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait is declared")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        see_practice(db, "*").await?;
        rewrite(db).await?;
        see_practice(db, "").await
    }
}

/// Which practice's rows the connection may change: PostgreSQL asks the owner of the
/// tables too.
async fn see_practice(db: &impl ConnectionTrait, practice: &str) -> Result<(), DbErr> {
    if db.get_database_backend() == DbBackend::Postgres {
        let text = format!("SELECT set_config('concord.practice', '{practice}', false)");
        db.execute_unprepared(&text).await?;
    }
    Ok(())
}

/// Clients that are read together.
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
            // A word of a line of its own: it is found whole.
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
    client.identifiers.get_or_insert_default().company_number = number.to_owned();
    Ok(client.encode_to_vec())
}
