//! What requests have in common, parsed; every violation is noted with its path.

use shared::{
    caller::Product,
    pb::records::{ContactRole, ErrorReason, NewAddress, NewPerson, Role, Warning},
    rules::violation::path,
    rules::{
        Problem, Violation, Violations,
        date::{Period, parse_date},
        draft::{AddressDraft, PersonDraft, source_id},
        terms::Term as _,
        text::{MAX_ADDRESSES, blank, is_blank, plain, required, too_many},
        warning,
    },
    status::Refusal,
};

use crate::{
    domain::record::HeldRole,
    service::{
        create::{AddressCommand, PersonCommand},
        intent::Intent,
        links::LinkCommand,
    },
};

/// Roles of a contact at most: one of each.
pub(super) const MAX_ROLES: usize = 14;

/// Characters of a reason at most.
pub(super) const MAX_REASON: usize = 500;

/// An id of the product's own; none when it is left out.
pub(super) fn external_id(wrong: &mut Violations, field: &str, text: &str) -> Option<String> {
    if is_blank(text) {
        return None;
    }
    wrong.field(field, source_id("External id", text))
}

/// A new person with its addresses, in the message at `prefix`.
pub(super) fn person(
    wrong: &mut Violations,
    prefix: &str,
    person: &NewPerson,
) -> Option<PersonCommand> {
    let draft = wrong.part(prefix, PersonDraft::parse(person));
    let addresses = addresses(wrong, &path(prefix, "addresses"), &person.addresses);
    let name = warning::of_person_name(&person.name.clone().unwrap_or_default());
    let mut warnings = Violations::new();
    warnings.extend(name.under(&path(prefix, "name")));
    warnings.extend(address_warnings(&path(prefix, "addresses"), &person.addresses));
    draft.map(|draft| PersonCommand { draft, addresses, warnings: self::warnings(warnings) })
}

/// What is kept of new addresses although it looks wrong, in the list at `prefix`.
pub(super) fn address_warnings(prefix: &str, addresses: &[NewAddress]) -> Violations {
    let mut warnings = Violations::new();
    for (n, address) in addresses.iter().enumerate() {
        let of_address = warning::of_address(&address.address.clone().unwrap_or_default());
        warnings.extend(of_address.under(&format!("{prefix}[{n}].address")));
    }
    warnings
}

/// As an answer carries them.
pub(super) fn warnings(warnings: Violations) -> Vec<Warning> {
    let warning = |Violation { field, reason: _, text }| Warning { field, text };
    warnings.into_iter().map(warning).collect()
}

/// The addresses of a new record, in the list at `prefix`.
pub(super) fn addresses(
    wrong: &mut Violations,
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
            closed_by_next: false,
            external_id,
        }));
    }
    parsed
}

/// The roles of a contact: at least one, each once.
pub(super) fn roles(wrong: &mut Violations, roles: &[ContactRole]) -> Vec<HeldRole> {
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
    wrong: &mut Violations,
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
) -> Result<Period, Problem> {
    Period::new(from, to).check()
}

/// Why something is done that cannot be undone: required. In its normal form, which has no
/// line breaks.
pub(super) fn reason(text: &str) -> Result<String, Refusal> {
    let reason = required("Reason", text, MAX_REASON);
    reason.map_err(|problem| Refusal::invalid(vec![problem.at("reason")]))
}

/// Why something is done, where that may be left out; likewise.
pub(super) fn reason_if_given(text: &str) -> Result<String, Refusal> {
    let reason = plain("Reason", text, MAX_REASON);
    reason.map_err(|problem| Refusal::invalid(vec![problem.at("reason")]))
}

/// A product to look at; none when it is left out.
pub(super) fn product(text: &str) -> Result<Option<Product>, Refusal> {
    let named = Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
    named.map_err(|text| Refusal::invalid_field("product", ErrorReason::InvalidId, text))
}

/// Which record is to be linked, and by which id of the product's own.
pub(super) fn link(record: String, external_id: &str) -> Result<LinkCommand, Refusal> {
    let mut wrong = Violations::new();
    let external_id = self::external_id(&mut wrong, "external_id", external_id);
    wrong.finish(Some(LinkCommand { record, external_id })).map_err(Refusal::from)
}

/// The intent and the command of a request; what is wrong with either is told at
/// once.
pub(super) fn both<T>(
    intent: Result<Intent, Refusal>,
    command: Result<T, Violations>,
) -> Result<(Intent, T), Refusal> {
    match (intent, command) {
        (Ok(intent), Ok(command)) => Ok((intent, command)),
        (Ok(_), Err(violations)) => Err(violations.into()),
        (Err(refusal), Ok(_)) => Err(refusal),
        (Err(refusal), Err(violations)) => Err(refusal.and(violations)),
    }
}
