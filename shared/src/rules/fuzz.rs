//! Text that nobody would type into any of the fields.

use super::{
    date::{date_text, parse_date},
    draft::{Reference, phone, source_id},
    identifier::{self, country, email, nino, paye_reference, ppsn, utr, vat_number},
    postcode::postcode_warning,
    terms::Term as _,
    text::{self, MAX_QUOTED, forbidden, is_blank},
    value::{Address, PersonName},
    violation::Problem,
};
use crate::{
    ids::{self, IdKind},
    pb::records::{self, AddressType, ClientType, Jurisdiction, Role},
    testing::fuzz::Fuzz,
};

/// What is read from text is text that reads the same, and can be kept; what is
/// wrong with it can be shown.
fn reads_back(read: impl Fn(&str) -> Result<Option<String>, Problem>, text: &str) {
    match read(text) {
        Ok(Some(kept)) => {
            assert_eq!(forbidden(&kept), None, "{kept:?}");
            assert_eq!(read(&kept), Ok(Some(kept)));
        }
        Ok(None) => assert!(is_blank(text), "{text:?} is something"),
        Err(problem) => {
            assert_eq!(forbidden(&problem.text), None, "{problem:?}");
            assert!(problem.text.chars().count() <= MAX_QUOTED + 200, "{problem:?}");
        }
    }
}

#[test]
fn whatever_stands_in_a_field_is_kept_in_a_form_that_reads_the_same() {
    Fuzz::of("field").cases(3_000).hold_text(|text| {
        for jurisdiction in
            [Jurisdiction::Unspecified, Jurisdiction::IsleOfMan, Jurisdiction::Other]
        {
            reads_back(|text| identifier::company_number(text, jurisdiction), text);
        }
        reads_back(utr, text);
        reads_back(vat_number, text);
        reads_back(paye_reference, text);
        reads_back(nino, text);
        reads_back(ppsn, text);
        reads_back(email, text);
        reads_back(phone, text);
        reads_back(country, text);
        reads_back(|text| Ok(parse_date(text)?.map(|day| date_text(Some(day)))), text);
        for read in [Reference::parse(text).map(|it| it.text), source_id("Source id", text)] {
            assert_eq!(read.ok().as_deref().and_then(forbidden), None);
        }
    });
}

#[test]
fn terms_and_ids_are_read_in_their_own_forms_only() {
    Fuzz::of("field").hold_text(|text| {
        for kind in [IdKind::Client, IdKind::Person, IdKind::Entry, IdKind::Import] {
            if let Some(id) = ids::parse(kind, text) {
                assert_eq!(ids::text(kind, id), text);
            }
        }
        let _ = (ClientType::parse(text), AddressType::parse(text), Role::parse(text));
    });
}

#[test]
fn addresses_and_names_of_any_text_are_read() {
    Fuzz::of("field").hold_text(|text| {
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
fn the_forms_of_a_text_are_their_own() {
    Fuzz::of("field").hold_text(|text| {
        for form in
            [text::normalise, text::normalise_id, text::fold, text::reference_key, text::match_key]
        {
            let once = form(text);
            assert_eq!(form(&once), once);
        }
    });
}
