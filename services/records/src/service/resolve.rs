//! Resolves the name of a record, which is an id or an alias.

use concord_core::{
    ids,
    rules::{
        ValueError,
        identifier::{company_number, possible_company_numbers, register},
        terms::Term as _,
        text::{check_characters, normalise_id, reference_key},
    },
    status::{ApiError, quoted},
};
use concord_db::TenantDb;
use concord_proto::pb::records::{ErrorReason, Jurisdiction, RecordKind};
use sea_orm::ConnectionTrait;
use tonic::Code;
use uuid::Uuid;

use super::links::link_kind;
use crate::{
    domain::record::{RecordRef, id_kind},
    error::RecordError,
    store::{clients, links},
};

/// One jurisdiction of each register.
const REGISTERS: [Jurisdiction; 6] = [
    Jurisdiction::EnglandWales,
    Jurisdiction::Ireland,
    Jurisdiction::Jersey,
    Jurisdiction::Guernsey,
    Jurisdiction::IsleOfMan,
    Jurisdiction::Other,
];

/// True if a name is an id, not an alias that needs a lookup.
pub(crate) fn is_id(name: &str) -> bool {
    !name.contains(':')
}

/// Resolves the name of a record of this kind. A person is named by an id or `ext:`, a client
/// also by `ref:` or `company:`.
///
/// An id is not looked up. The caller's next statement detects a missing record.
pub(crate) async fn of_kind(
    db: TenantDb<'_, impl ConnectionTrait>,
    kind: RecordKind,
    field: &str,
    name: &str,
) -> Result<RecordRef, RecordError> {
    check(field, name)?;
    let name = &*normalise_id(name);
    let is_client = kind == RecordKind::Client;
    let id = match name.split_once(':') {
        Some(("ref", reference)) if is_client => {
            let id = clients::id_by_reference(db, &reference_key(reference)).await?;
            id.ok_or_else(|| ApiError::not_found("client", name))?
        }
        Some(("company", number)) if is_client => by_company_number(db, field, number).await?,
        Some(("ext", external)) => by_external_id(db, field, kind, external).await?,
        _ => parse_id(kind, field, name)?,
    };
    Ok(RecordRef { kind, id })
}

/// Resolves the name of a client or a person. An `ext:` alias resolves to the client with
/// the external id, or else to the person.
pub(crate) async fn client_or_person(
    db: TenantDb<'_, impl ConnectionTrait>,
    field: &str,
    name: &str,
) -> Result<RecordRef, RecordError> {
    let name = &*normalise_id(name);
    if name.starts_with(id_kind(RecordKind::Person).prefix()) {
        return of_kind(db, RecordKind::Person, field, name).await;
    }
    let named = ["ref:", "company:", "ext:", id_kind(RecordKind::Client).prefix()];
    if !named.iter().any(|beginning| name.starts_with(beginning)) {
        let text = format!(
            "{:?} does not name a client or a person: use an id such as cli_0197… or per_0197…, or \
             an alias with ref:, company: or ext:",
            quoted(name)
        );
        return Err(invalid_id(field, text).into());
    }
    match of_kind(db, RecordKind::Client, field, name).await {
        Err(RecordError::Api(error))
            if name.starts_with("ext:") && error.reason() == ErrorReason::NotFound =>
        {
            of_kind(db, RecordKind::Person, field, name).await
        }
        found => found,
    }
}

/// Rejects characters that no name contains. PostgreSQL fails on some of them.
fn check(field: &str, name: &str) -> Result<(), ApiError> {
    let checked = check_characters("The name", name);
    checked.map_err(|problem| ApiError::invalid(vec![problem.at(field)]))
}

async fn by_company_number(
    db: TenantDb<'_, impl ConnectionTrait>,
    field: &str,
    number: &str,
) -> Result<Uuid, RecordError> {
    let (numbers, register) =
        registered(number).map_err(|problem| ApiError::invalid(vec![problem.at(field)]))?;
    if numbers.is_empty() {
        return Err(invalid_id(field, "company: needs a company number").into());
    }
    let found = clients::ids_by_company_number(db, &numbers, register).await?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(ApiError::not_found("client", &format!("company:{number}")).into()),
        more => {
            let aliases =
                if register.is_none() { aliases_of_one(db, number).await? } else { Vec::new() };
            Err(ambiguous(more, &aliases).into())
        }
    }
}

/// The `company:` aliases with a register that resolve to one client each.
async fn aliases_of_one(
    db: TenantDb<'_, impl ConnectionTrait>,
    number: &str,
) -> Result<Vec<String>, RecordError> {
    let mut aliases = Vec::new();
    for jurisdiction in REGISTERS {
        let alias = format!("{}/{number}", jurisdiction.name());
        // Skips registers that have no such numbers.
        let Ok((numbers, register)) = registered(&alias) else { continue };
        let found = clients::ids_by_company_number(db, &numbers, register).await?;
        if found.len() == 1 {
            aliases.push(format!("company:{alias}"));
        }
    }
    Ok(aliases)
}

/// The possible numbers of a `company:` alias, and their register if the alias has one, as
/// in `IRELAND/123456`.
fn registered(number: &str) -> Result<(Vec<String>, Option<Jurisdiction>), ValueError> {
    let named = number
        .split_once('/')
        .and_then(|(register, number)| Some((Jurisdiction::parse(register).ok()??, number)));
    match named {
        Some((jurisdiction, number)) => {
            let number = company_number(number, jurisdiction)?;
            let register = number.as_ref().map(|number| register(number, jurisdiction));
            Ok((number.into_iter().collect(), register))
        }
        None => Ok((possible_company_numbers(number)?, None)),
    }
}

/// The error for a number of several clients. Each of `aliases` resolves to one of them.
fn ambiguous(clients: &[Uuid], aliases: &[String]) -> ApiError {
    let ids = clients.iter().map(|id| RecordRef::client(*id).text()).collect::<Vec<_>>().join(", ");
    let others: Vec<String> =
        aliases.iter().map(|alias| format!(" or {}", quoted(alias))).collect();
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::AmbiguousAlias,
        format!(
            "several clients have this company number, {ids} among them: use an id{}",
            others.concat()
        ),
    )
    .with("ids", ids)
}

async fn by_external_id(
    db: TenantDb<'_, impl ConnectionTrait>,
    field: &str,
    kind: RecordKind,
    external: &str,
) -> Result<Uuid, RecordError> {
    let mut parts = external.splitn(3, '/');
    let parsed = parts
        .next()
        .and_then(|product| product.parse().ok())
        .zip(parts.next().and_then(|account| account.parse().ok()).zip(parts.next()));
    let Some((product, (account, external_id))) = parsed else {
        return Err(invalid_id(
            field,
            "write ext:product/account/id, such as ext:manager/main/123",
        )
        .into());
    };
    let (account, external_id) = ((&product, &account), external_id.trim_start().to_owned());
    let links = links::by_external_ids(db, account, link_kind(kind), &[external_id]).await?;
    let link = links.into_iter().next().map(|link| link.record_id);
    let kind = id_kind(kind).to_string();
    link.ok_or_else(|| ApiError::not_found(&kind, &format!("ext:{external}")).into())
}

fn parse_id(kind: RecordKind, field: &str, text: &str) -> Result<Uuid, ApiError> {
    let aliases = if kind == RecordKind::Client { "ref:, company: or ext:" } else { "ext:" };
    let kind = id_kind(kind);
    ids::parse(kind, text).ok_or_else(|| {
        let prefix = kind.prefix();
        let text = format!(
            "{:?} does not name a {kind}: use an id such as {prefix}0197…, or an alias with {aliases}",
            quoted(text)
        );
        invalid_id(field, text)
    })
}

fn invalid_id(field: &str, text: impl Into<String>) -> ApiError {
    ApiError::invalid_field(field, ErrorReason::InvalidId, text)
}
