//! Match keys for the detection of possible duplicates. Possible duplicates are reported
//! and never merged: a number may be mistyped, and two people may share a name and a date
//! of birth.

use std::fmt;

use chrono::NaiveDate;
use strum::{Display, EnumString, IntoStaticStr};

use super::{
    draft::{Identifiers, PersonDraft},
    identifier::register,
    import::ImportDraft,
    terms::Term as _,
    value::PersonName,
};
use concord_proto::pb::records::Jurisdiction;

/// The field that two possible duplicates have in common.
#[derive(Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchField {
    /// Client: the number at Companies House or at another register.
    CompanyNumber,
    /// Client: the Unique Taxpayer Reference.
    Utr,
    /// Client: the VAT registration number.
    VatNumber,
    /// Person, including the person of an individual client.
    #[strum(serialize = "name and birth_date")]
    NameAndBirthDate,
}

impl MatchField {
    /// All fields.
    pub const ALL: [Self; 4] =
        [Self::CompanyNumber, Self::Utr, Self::VatNumber, Self::NameAndBirthDate];

    /// The name of the field or fields, as callers see it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The normalised value of a match field of a record. Two records with an equal match key
/// are possible duplicates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchKey {
    /// The field.
    pub field: MatchField,
    /// The normalised value, as it is compared.
    pub value: String,
}

/// The match key of a person: name and date of birth. `None` without a date of birth.
pub fn of_person(name: &PersonName, birth_date: Option<NaiveDate>) -> Option<MatchKey> {
    let value = birth_date.map(|day| format!("{day} {}", name.match_key()))?;
    Some(MatchKey { field: MatchField::NameAndBirthDate, value })
}

/// The match keys of a client: one for each of its numbers. The PAYE reference is not one:
/// several companies may share a payroll.
pub fn of_client(identifiers: &Identifiers, jurisdiction: Jurisdiction) -> Vec<MatchKey> {
    let Identifiers { company_number, utr, vat_number, paye_reference: _ } = identifiers;
    let company = company_number.as_ref().map(|number| {
        let register = register(number, jurisdiction);
        RegisteredNumber { number: number.clone(), register }.to_string()
    });
    let numbers = [
        (MatchField::CompanyNumber, company),
        (MatchField::Utr, utr.clone()),
        (MatchField::VatNumber, vat_number.clone()),
    ];
    let key =
        |(field, number): (MatchField, Option<String>)| Some(MatchKey { field, value: number? });
    numbers.into_iter().filter_map(key).collect()
}

/// A company number with its register. Its text is the value of a match key: the number
/// alone for Companies House, otherwise the register, a slash and the number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredNumber {
    /// The number in the form of its register.
    pub number: String,
    /// The [`register()`].
    pub register: Jurisdiction,
}

impl fmt::Display for RegisteredNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.register {
            Jurisdiction::Unspecified => f.write_str(&self.number),
            register => write!(f, "{}/{}", register.name(), self.number),
        }
    }
}

impl From<&str> for RegisteredNumber {
    fn from(value: &str) -> Self {
        let named = value.split_once('/').and_then(|(register, number)| {
            let register = Jurisdiction::parse(register).ok()??;
            Some(Self { number: number.to_owned(), register })
        });
        named.unwrap_or_else(|| Self {
            number: value.to_owned(),
            register: Jurisdiction::Unspecified,
        })
    }
}

/// The match keys of a record of an import. An address has none.
pub fn of_import(draft: &ImportDraft) -> Vec<MatchKey> {
    let person = |person: &PersonDraft| of_person(&person.name, person.birth_date);
    match draft {
        ImportDraft::Client { client, individual } => {
            let mut keys = of_client(&client.identifiers, client.jurisdiction);
            keys.extend(individual.as_ref().and_then(person));
            keys
        }
        ImportDraft::Contact { person: contact, .. } => person(contact).into_iter().collect(),
        ImportDraft::Address { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(title: &str, forename: &str, surname: &str) -> PersonName {
        let [title, forename, surname] = [title, forename, surname].map(str::to_owned);
        PersonName { title, forename, surname, ..PersonName::default() }
    }

    #[test]
    fn person_match_key_needs_name_and_birth_date() {
        let day = NaiveDate::from_ymd_opt(1975, 5, 5);
        let ann = of_person(&named("Dr", "Ann", "Ó’Brien"), day);
        assert!(ann.is_some());
        assert_eq!(ann, of_person(&named("", "ANN", "O'Brien"), day));
        assert_ne!(
            ann,
            of_person(&named("", "Ann", "O'Brien"), NaiveDate::from_ymd_opt(1975, 5, 6))
        );
        assert_eq!(of_person(&named("Dr", "Ann", "O'Brien"), None), None);
    }

    #[test]
    fn client_has_a_match_key_for_each_number_but_paye() {
        let identifiers = Identifiers {
            company_number: Some("01234567".into()),
            vat_number: Some("GB123456782".into()),
            paye_reference: Some("123/A4".into()),
            ..Identifiers::default()
        };
        let fields: Vec<_> = of_client(&identifiers, Jurisdiction::Scotland)
            .into_iter()
            .map(|key| key.field)
            .collect();
        assert_eq!(fields, [MatchField::CompanyNumber, MatchField::VatNumber]);
    }

    #[test]
    fn company_numbers_of_different_registers_do_not_match() {
        let of = |number: &str, jurisdiction| {
            let identifiers =
                Identifiers { company_number: Some(number.into()), ..Identifiers::default() };
            of_client(&identifiers, jurisdiction)
        };
        let irish = of("123456", Jurisdiction::Ireland);
        assert_eq!(irish[0].value, "IRELAND/123456");
        assert_ne!(irish, of("123456", Jurisdiction::Jersey));
        let house = of("00123456", Jurisdiction::Scotland);
        assert_eq!(house, of("00123456", Jurisdiction::Unspecified));
        assert_eq!(house[0].value, "00123456");
        for key in [&irish[0], &house[0]] {
            assert_eq!(RegisteredNumber::from(&*key.value).to_string(), key.value);
        }
    }

    #[test]
    fn match_field_name_round_trips() {
        assert!(MatchField::ALL.iter().all(|field| field.as_str().parse() == Ok(*field)));
        assert!("name".parse::<MatchField>().is_err());
    }

    /// The names are in the databases of imports.
    #[test]
    fn match_field_names_are_fixed() {
        let names = MatchField::ALL.map(MatchField::as_str);
        assert_eq!(names.join(", "), "company_number, utr, vat_number, name and birth_date");
    }
}
