//! What makes two records look like one. Such records are named to people, and
//! never merged: a number may be a slip, and two people may share a name and a day.

use std::{fmt, str::FromStr};

use chrono::NaiveDate;

use super::{
    draft::{Identifiers, PersonDraft},
    identifier::register,
    import::ImportDraft,
    terms::Term as _,
    value::PersonName,
};
use crate::pb::records::Jurisdiction;

/// What two records have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trait {
    /// Of clients: the number at Companies House, or at another register.
    CompanyNumber,
    /// Of clients: the Unique Taxpayer Reference.
    Utr,
    /// Of clients: the VAT registration number.
    VatNumber,
    /// Of persons, those of individual clients among them.
    NameAndBirthDate,
}

impl Trait {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::CompanyNumber, Self::Utr, Self::VatNumber, Self::NameAndBirthDate];

    /// The name of the field, or of the fields, for callers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CompanyNumber => "company_number",
            Self::Utr => "utr",
            Self::VatNumber => "vat_number",
            Self::NameAndBirthDate => "name and birth_date",
        }
    }
}

impl fmt::Display for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trait of records")]
pub struct UnknownTrait;

impl FromStr for Trait {
    type Err = UnknownTrait;

    fn from_str(text: &str) -> Result<Self, UnknownTrait> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownTrait)
    }
}

/// A trait of one record. Two records look like one when they share a likeness.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Likeness {
    /// What is compared.
    pub of: Trait,
    /// Its value, in the form in which it is compared.
    pub value: String,
}

/// A person by name and day of birth; a name alone is no likeness.
pub fn of_person(name: &PersonName, birth_date: Option<NaiveDate>) -> Option<Likeness> {
    let value = birth_date.map(|day| format!("{day} {}", name.match_key()))?;
    Some(Likeness { of: Trait::NameAndBirthDate, value })
}

/// A client by each of its numbers. Not by its PAYE reference: one payroll may
/// serve several companies.
pub fn of_client(identifiers: &Identifiers, jurisdiction: Jurisdiction) -> Vec<Likeness> {
    let Identifiers { company_number, utr, vat_number, paye_reference: _ } = identifiers;
    let company = company_number.as_ref().map(|number| {
        let register = register(number, jurisdiction);
        RegisteredNumber { number: number.clone(), register }.to_string()
    });
    let numbers = [
        (Trait::CompanyNumber, company),
        (Trait::Utr, utr.clone()),
        (Trait::VatNumber, vat_number.clone()),
    ];
    let likeness = |(of, number): (Trait, Option<String>)| Some(Likeness { of, value: number? });
    numbers.into_iter().filter_map(likeness).collect()
}

/// A company number with its register. As text, the value of a likeness: that of
/// Companies House is the number alone, every other one has the register before it.
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

/// A record of an import; an address looks like nothing.
pub fn of_import(draft: &ImportDraft) -> Vec<Likeness> {
    let person = |person: &PersonDraft| of_person(&person.name, person.birth_date);
    match draft {
        ImportDraft::Client { client, individual } => {
            let mut likenesses = of_client(&client.identifiers, client.jurisdiction);
            likenesses.extend(individual.as_ref().and_then(person));
            likenesses
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
    fn a_person_is_like_another_by_name_and_day_of_birth_together() {
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
    fn a_client_is_like_another_by_each_number_and_not_by_its_payroll() {
        let identifiers = Identifiers {
            company_number: Some("01234567".into()),
            vat_number: Some("GB123456782".into()),
            paye_reference: Some("123/A4".into()),
            ..Identifiers::default()
        };
        let traits: Vec<_> = of_client(&identifiers, Jurisdiction::Scotland)
            .into_iter()
            .map(|like| like.of)
            .collect();
        assert_eq!(traits, [Trait::CompanyNumber, Trait::VatNumber]);
    }

    #[test]
    fn a_number_of_one_register_is_not_that_of_another() {
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
        for likeness in [&irish[0], &house[0]] {
            assert_eq!(RegisteredNumber::from(&*likeness.value).to_string(), likeness.value);
        }
    }

    #[test]
    fn every_trait_reads_back() {
        assert!(Trait::ALL.iter().all(|of| of.as_str().parse() == Ok(*of)));
        assert_eq!("name".parse::<Trait>(), Err(UnknownTrait));
    }
}
