//! Fuzz tests of the field parsers.

use super::{
    date::{date_text, parse_date},
    draft::{Reference, phone, source_id},
    identifier::{self, country, email, nino, paye_reference, ppsn, utr, vat_number},
    postcode::postcode_warning,
    terms::Term as _,
    text::{self, MAX_QUOTED, forbidden, is_blank},
    value::{Address, PersonName},
    violation::ValueError,
};
use crate::ids::{self, IdKind};
use concord_proto::pb::records::{self, AddressType, ClientType, Jurisdiction, Role};
use concord_testing::fuzz::Fuzz;

/// Asserts that a parsed value is storable and parses to itself, and that an error text is
/// short and printable.
fn check_canonical(read: impl Fn(&str) -> Result<Option<String>, ValueError>, text: &str) {
    match read(text) {
        Ok(Some(kept)) => {
            assert_eq!(forbidden(&kept), None, "{kept:?}");
            assert_eq!(read(&kept), Ok(Some(kept)));
        }
        Ok(None) => assert!(is_blank(text), "{text:?} is not blank"),
        Err(error) => {
            assert_eq!(forbidden(&error.text), None, "{error:?}");
            assert!(error.text.chars().count() <= MAX_QUOTED + 200, "{error:?}");
        }
    }
}

#[test]
fn field_parsers_return_a_canonical_form() {
    Fuzz::corpus("field").cases(3_000).check_text(|text| {
        for jurisdiction in
            [Jurisdiction::Unspecified, Jurisdiction::IsleOfMan, Jurisdiction::Other]
        {
            check_canonical(|text| identifier::company_number(text, jurisdiction), text);
        }
        check_canonical(utr, text);
        check_canonical(vat_number, text);
        check_canonical(paye_reference, text);
        check_canonical(nino, text);
        check_canonical(ppsn, text);
        check_canonical(email, text);
        check_canonical(phone, text);
        check_canonical(country, text);
        check_canonical(|text| Ok(parse_date(text)?.map(|day| date_text(Some(day)))), text);
        for read in [Reference::parse(text).map(|it| it.text), source_id("Source id", text)] {
            assert_eq!(read.ok().as_deref().and_then(forbidden), None);
        }
    });
}

#[test]
fn ids_parse_in_their_canonical_form_only() {
    Fuzz::corpus("field").check_text(|text| {
        for kind in [IdKind::Client, IdKind::Person, IdKind::Entry, IdKind::Import] {
            if let Some(id) = ids::parse(kind, text) {
                assert_eq!(ids::text(kind, id), text);
            }
        }
        let _ = (ClientType::parse(text), AddressType::parse(text), Role::parse(text));
    });
}

#[test]
fn addresses_and_names_accept_any_text() {
    Fuzz::corpus("field").check_text(|text| {
        let (head, tail) = text.split_at(text.floor_char_boundary(text.len() / 2));
        let address = records::Address {
            line_1: head.to_owned(),
            postcode: tail.to_owned(),
            country: text.to_owned(),
            ..records::Address::default()
        };
        if let Ok(address) = Address::parse(&address, "address") {
            let warning = postcode_warning(&address).unwrap_or_default();
            assert_eq!(forbidden(&warning).or(forbidden(&address.display())), None);
        }
        let name = records::PersonName {
            forename: head.to_owned(),
            surname: tail.to_owned(),
            ..records::PersonName::default()
        };
        if let Ok(name) = PersonName::parse(&name, "name") {
            assert_eq!(forbidden(&name.display()).or(forbidden(&name.match_key())), None);
        }
    });
}

#[test]
fn text_normal_forms_are_idempotent() {
    Fuzz::corpus("field").check_text(|text| {
        for form in
            [text::normalise, text::normalise_id, text::fold, text::reference_key, text::match_key]
        {
            let once = form(text);
            assert_eq!(form(&once), once);
        }
    });
}
