//! Looks up existing records by their match keys, for the detection of duplicates.

use std::collections::{BTreeSet, HashMap};

use concord_core::rules::{
    match_key::{MatchField, MatchKey, RegisteredNumber},
    terms::Term as _,
};
use concord_db::{Column, TenantBinds, TenantDb, chunk_rows};
use concord_proto::pb::records::Jurisdiction;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::error::RecordError;

/// The oldest client, or person, with each match key. Omits keys that no record has.
///
/// One statement for all keys, with a scalar subquery for each that reads the first row of
/// an index. A join would depend on the planner of PostgreSQL, whose statistics do not
/// include a recent import yet.
pub(crate) async fn oldest(
    db: TenantDb<'_, impl ConnectionTrait>,
    keys: &BTreeSet<MatchKey>,
) -> Result<HashMap<MatchKey, Uuid>, RecordError> {
    let mut oldest = HashMap::new();
    let all: Vec<&MatchKey> = keys.iter().collect();
    for part in all.chunks(chunk_rows(4)) {
        for row in db.query(|sql| oldest_sql(sql, part)).await? {
            let Some(id) = row.try_get::<Option<Uuid>>("", "id")? else { continue };
            let field = row.try_get::<String>("", "field")?.parse();
            let field = field.map_err(|_| RecordError::Corrupt("a match field"))?;
            oldest.insert(MatchKey { field, value: row.try_get("", "value")? }, id);
        }
    }
    Ok(oldest)
}

fn oldest_sql(sql: &mut TenantBinds<'_>, part: &[&MatchKey]) -> String {
    let row = |key: &&MatchKey| {
        let RegisteredNumber { number, register } = match key.field {
            MatchField::CompanyNumber => key.value.as_str().into(),
            _ => {
                RegisteredNumber { number: key.value.clone(), register: Jurisdiction::Unspecified }
            }
        };
        let (field, value) = (key.field.as_str().into(), key.value.as_str().into());
        vec![field, value, number.into(), register.name().into()]
    };
    let columns =
        [Column::of("field"), Column::of("value"), Column::of("number"), Column::of("register")];
    let list = sql.list(&columns, part.iter().map(row).collect());
    let arm = |field: MatchField| {
        let ((table, column), practice) = (table_and_column(field), sql.practice());
        let register = match field {
            MatchField::CompanyNumber => {
                format!("AND {}", is_of_register("r.jurisdiction", "v.register"))
            }
            _ => String::new(),
        };
        format!(
            "WHEN '{field}' THEN (SELECT r.id FROM {table} r WHERE r.practice_id = {practice} \
             AND r.{column} = v.number {register} ORDER BY r.id LIMIT 1)"
        )
    };
    let arms = MatchField::ALL.map(arm).join(" ");
    format!(
        "WITH v(field, value, number, register) AS ({list}) \
         SELECT field, value, CASE field {arms} END AS id FROM v"
    )
}

/// The condition that a client's company number is of the same register as that of the
/// match key. Numbers of Companies House have a format of their own, so only numbers of
/// foreign registers, which have any format, must be distinguished from them.
fn is_of_register(jurisdiction: &str, register: &str) -> String {
    let [other, isle_of_man] =
        [Jurisdiction::Other, Jurisdiction::IsleOfMan].map(concord_core::rules::terms::Term::name);
    format!(
        "CASE {register} WHEN '' THEN {jurisdiction} <> '{other}' \
         WHEN '{isle_of_man}' THEN {jurisdiction} IN ('{isle_of_man}', '') \
         ELSE {jurisdiction} = {register} END"
    )
}

/// The table and the column of a match field.
const fn table_and_column(field: MatchField) -> (&'static str, &'static str) {
    match field {
        MatchField::CompanyNumber => ("client", "company_number"),
        MatchField::Utr => ("client", "utr"),
        MatchField::VatNumber => ("client", "vat_number"),
        MatchField::NameAndBirthDate => ("person", "likeness"),
    }
}

#[cfg(test)]
mod tests;
