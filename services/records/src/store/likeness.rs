//! Records that look like others, whoever has brought them.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use shared::{
    caller::PracticeId,
    db::{Column, Parameters, chunk_rows},
    pb::records::Jurisdiction,
    rules::{
        likeness::{Likeness, RegisteredNumber, Trait},
        terms::Term as _,
    },
};
use uuid::Uuid;

use crate::error::RecordError;

/// The oldest client, or person, of each likeness that any has.
///
/// One statement for all of them, with a scalar subquery for each that reads the
/// first row of an index. A join would leave the choice to the planner of
/// PostgreSQL, which knows nothing of an import that has just arrived.
pub(crate) async fn oldest(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    likenesses: &BTreeSet<Likeness>,
) -> Result<HashMap<Likeness, Uuid>, RecordError> {
    let mut oldest = HashMap::new();
    let all: Vec<&Likeness> = likenesses.iter().collect();
    for part in all.chunks(chunk_rows(4)) {
        for row in db.query_all_raw(statement(db.get_database_backend(), practice, part)).await? {
            let Some(id) = row.try_get::<Option<Uuid>>("", "id")? else { continue };
            let of = row.try_get::<String>("", "trait")?.parse();
            let of = of.map_err(|_| RecordError::Corrupt("a trait"))?;
            oldest.insert(Likeness { of, value: row.try_get("", "value")? }, id);
        }
    }
    Ok(oldest)
}

fn statement(engine: DbBackend, practice: &PracticeId, part: &[&Likeness]) -> Statement {
    let mut parameters = Parameters::new(engine);
    let row = |like: &&Likeness| {
        let RegisteredNumber { number, register } = match like.of {
            Trait::CompanyNumber => like.value.as_str().into(),
            _ => {
                RegisteredNumber { number: like.value.clone(), register: Jurisdiction::Unspecified }
            }
        };
        let (of, value) = (like.of.as_str().into(), like.value.as_str().into());
        vec![of, value, number.into(), register.name().into()]
    };
    let columns =
        [Column::of("trait"), Column::of("value"), Column::of("number"), Column::of("register")];
    let list = parameters.list(&columns, part.iter().map(row).collect());
    let arm = |of: Trait| {
        let ((table, column), practice) = (place(of), parameters.bind(practice.as_str()));
        let register = match of {
            Trait::CompanyNumber => {
                format!("AND {}", is_of_register("r.jurisdiction", "v.register"))
            }
            _ => String::new(),
        };
        format!(
            "WHEN '{of}' THEN (SELECT r.id FROM {table} r WHERE r.practice_id = {practice} \
             AND r.{column} = v.number {register} ORDER BY r.id LIMIT 1)"
        )
    };
    let arms = Trait::ALL.map(arm).join(" ");
    let sql = format!(
        "WITH v(trait, value, number, register) AS ({list}) SELECT trait, value, CASE trait {arms} END AS id FROM v"
    );
    Statement::from_sql_and_values(engine, sql, parameters.into_values())
}

/// Whether a client whose company number is that of a likeness has it of the same
/// register. Numbers of Companies House have a form of their own, so only numbers of
/// foreign registers, which have any form, must be distinguished from them.
fn is_of_register(jurisdiction: &str, register: &str) -> String {
    let [other, isle_of_man] =
        [Jurisdiction::Other, Jurisdiction::IsleOfMan].map(shared::rules::terms::Term::name);
    format!(
        "CASE {register} WHEN '' THEN {jurisdiction} <> '{other}' \
         WHEN '{isle_of_man}' THEN {jurisdiction} IN ('{isle_of_man}', '') \
         ELSE {jurisdiction} = {register} END"
    )
}

/// Where a trait is kept: the table, and the column.
const fn place(of: Trait) -> (&'static str, &'static str) {
    match of {
        Trait::CompanyNumber => ("client", "company_number"),
        Trait::Utr => ("client", "utr"),
        Trait::VatNumber => ("client", "vat_number"),
        Trait::NameAndBirthDate => ("person", "likeness"),
    }
}

#[cfg(test)]
mod tests;
