//! Parsers of message parts that several requests share. Violations are collected with
//! the paths of their fields.

use concord_core::{
    caller::{Caller, Product},
    rules::violation::path,
    rules::{
        FieldViolation, FieldViolations, ValueError,
        date::{Period, parse_date},
        draft::{AddressDraft, PersonDraft, source_id},
        terms::Term as _,
        text::{MAX_ADDRESSES, blank, is_blank, plain, required, too_many},
        warning,
    },
    status::ApiError,
};
use concord_proto::{
    pb::records::{ContactRole, ErrorReason, NewAddress, NewPerson, Role, Warning},
    rpc::Rpc,
};
use tonic::Request;

use crate::{
    domain::record::HeldRole,
    service::{
        create::{AddressCommand, PersonCommand},
        links::LinkCommand,
        request_context::RequestContext,
    },
};

/// Maximum number of roles of a new contact: one of each kind.
pub(super) const MAX_ROLES: usize = 14;

/// Maximum length of a reason, in characters.
pub(super) const MAX_REASON: usize = 500;

/// The caller, the message and the context of a request that changes records. `keys` gives its
/// idempotency key, and true for a dry run.
pub(super) fn mutation<T: prost::Message>(
    rpc: Rpc,
    request: Request<T>,
    keys: fn(&T) -> (&str, bool),
) -> Result<(Caller, T, Result<RequestContext, ApiError>), ApiError> {
    let caller = Caller::of(request.extensions())?;
    let request = request.into_inner();
    let (request_id, validate_only) = keys(&request);
    let context = RequestContext::parse(rpc, &request, request_id, validate_only);
    Ok((caller, request, context))
}

/// An external id of the product; `None` when it is missing.
pub(super) fn external_id(wrong: &mut FieldViolations, field: &str, text: &str) -> Option<String> {
    if is_blank(text) {
        return None;
    }
    wrong.field(field, source_id("External id", text))
}

/// A new person with its addresses, in the message at `prefix`.
pub(super) fn person(
    wrong: &mut FieldViolations,
    prefix: &str,
    person: &NewPerson,
) -> Option<PersonCommand> {
    let draft = wrong.part(prefix, PersonDraft::parse(person));
    let addresses = addresses(wrong, &path(prefix, "addresses"), &person.addresses);
    let name = warning::of_person_name(&person.name.clone().unwrap_or_default());
    let mut warnings = FieldViolations::new();
    warnings.extend(name.under(&path(prefix, "name")));
    warnings.extend(address_warnings(&path(prefix, "addresses"), &person.addresses));
    draft.map(|draft| PersonCommand { draft, addresses, warnings: self::warnings(warnings) })
}

/// Values of new addresses that are stored although they look wrong, in the list at
/// `prefix`.
pub(super) fn address_warnings(prefix: &str, addresses: &[NewAddress]) -> FieldViolations {
    let mut warnings = FieldViolations::new();
    for (n, address) in addresses.iter().enumerate() {
        let of_address = warning::of_address(&address.address.clone().unwrap_or_default());
        warnings.extend(of_address.under(&format!("{prefix}[{n}].address")));
    }
    warnings
}

/// Warnings as messages.
pub(super) fn warnings(warnings: FieldViolations) -> Vec<Warning> {
    let warning = |FieldViolation { field, reason: _, text }| Warning { field, text };
    warnings.into_iter().map(warning).collect()
}

/// The addresses of a new record, in the list at `prefix`.
pub(super) fn addresses(
    wrong: &mut FieldViolations,
    prefix: &str,
    addresses: &[NewAddress],
) -> Vec<AddressCommand> {
    if addresses.len() > MAX_ADDRESSES {
        wrong.add(too_many("Addresses", addresses.len(), MAX_ADDRESSES).at(prefix));
        return Vec::new();
    }
    let mut parsed = Vec::with_capacity(addresses.len());
    for (n, address) in addresses.iter().enumerate() {
        let at = format!("{prefix}[{n}]");
        let draft = wrong.part(&at, AddressDraft::parse(address));
        let external_id = external_id(wrong, &path(&at, "external_id"), &address.external_id);
        parsed.extend(draft.map(|draft| AddressCommand {
            draft,
            implicit_end: false,
            external_id,
        }));
    }
    parsed
}

/// The roles of a contact: at least one, each once.
pub(super) fn roles(wrong: &mut FieldViolations, roles: &[ContactRole]) -> Vec<HeldRole> {
    if roles.is_empty() {
        wrong.push("roles", ErrorReason::ContactRoleMissing, "Contact has no role assigned");
    }
    if roles.len() > MAX_ROLES {
        wrong.add(too_many("Roles", roles.len(), MAX_ROLES).at("roles"));
        return Vec::new();
    }
    let parsed = roles.iter().enumerate();
    let numbered = parsed.zip(1..);
    numbered
        .filter_map(|((n, role), number)| held_role(wrong, &format!("roles[{n}]"), number, role))
        .collect()
}

pub(super) fn held_role(
    wrong: &mut FieldViolations,
    prefix: &str,
    number: i32,
    role: &ContactRole,
) -> Option<HeldRole> {
    let at = |field: &str| path(prefix, field);
    let term = Role::from_wire(role.role).and_then(|role| role.ok_or_else(|| blank("Role")));
    let term = wrong.field(&at("role"), term);
    let appointed_on = wrong.field(&at("appointed_on"), parse_date(&role.appointed_on)).flatten();
    let resigned_on = wrong.field(&at("resigned_on"), parse_date(&role.resigned_on)).flatten();
    wrong.field(&at("resigned_on"), period(appointed_on, resigned_on));
    Some(HeldRole { number, role: term?, appointed_on, resigned_on })
}

fn period(
    from: Option<chrono::NaiveDate>,
    to: Option<chrono::NaiveDate>,
) -> Result<Period, ValueError> {
    Period::new(from, to).check()
}

/// The reason of an irreversible change, which is required. Normalised, without line
/// breaks.
pub(super) fn reason(text: &str) -> Result<String, ApiError> {
    let reason = required("Reason", text, MAX_REASON);
    reason.map_err(|problem| ApiError::invalid(vec![problem.at("reason")]))
}

/// An optional reason; normalised likewise.
pub(super) fn reason_if_given(text: &str) -> Result<String, ApiError> {
    let reason = plain("Reason", text, MAX_REASON);
    reason.map_err(|problem| ApiError::invalid(vec![problem.at("reason")]))
}

/// The product of a query; `None` when it is missing.
pub(super) fn product(text: &str) -> Result<Option<Product>, ApiError> {
    let named = Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
    named.map_err(|text| ApiError::invalid_field("product", ErrorReason::InvalidId, text))
}

/// The record to link, and its external id in the product.
pub(super) fn link(record: String, external_id: &str) -> Result<LinkCommand, ApiError> {
    let mut wrong = FieldViolations::new();
    let external_id = self::external_id(&mut wrong, "external_id", external_id);
    wrong.finish(Some(LinkCommand { record, external_id })).map_err(ApiError::from)
}

/// The context and the command of a request. The error contains the violations of both.
pub(super) fn both<T>(
    context: Result<RequestContext, ApiError>,
    command: Result<T, FieldViolations>,
) -> Result<(RequestContext, T), ApiError> {
    match (context, command) {
        (Ok(context), Ok(command)) => Ok((context, command)),
        (Ok(_), Err(violations)) => Err(violations.into()),
        (Err(refusal), Ok(_)) => Err(refusal),
        (Err(refusal), Err(violations)) => Err(refusal.and(violations)),
    }
}
