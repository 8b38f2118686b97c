//! The generated records of a practice, in the proportions of a real one: 138 clients, 315
//! contacts and 547 addresses per thousand. A record is derived from its number, so that none
//! is stored. All records are valid.

use concord_proto::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};
use prost::{Message as _, bytes::Bytes};

/// Number of clients and contacts per thousand records.
const CLIENTS: usize = 138;
const CONTACTS: usize = 315;

/// One of so many clients also has a postal address.
const WITH_POSTAL: usize = 10;

/// One of so many contacts has roles at two clients.
const AT_TWO: usize = 20;

/// Modulus of [`scrambled`], which permutes the numbers below it.
const PRIME: usize = 99_999_989;

const TRADES: [&str; 8] = [
    "Building Services",
    "Consulting",
    "Catering",
    "Engineering",
    "Foods",
    "Holdings",
    "Motors",
    "Property Management",
];
const FORENAMES: [&str; 16] = [
    "Alice", "Amir", "Bethan", "Callum", "Daniel", "Eilidh", "Fiona", "George", "Harriet", "Imran",
    "Jack", "Kirsty", "Liam", "Maisie", "Owen", "Zara",
];
const ONSETS: [&str; 24] = [
    "Ash", "Bar", "Black", "Bramp", "Brook", "Car", "Chal", "Dun", "East", "Fair", "Gar", "Hal",
    "Har", "Hart", "Kirk", "Lang", "Mal", "North", "Pem", "Red", "Stan", "Thorn", "Whit", "Win",
];
const ENDINGS: [&str; 16] = [
    "bury", "by", "combe", "dale", "den", "field", "ford", "ham", "ley", "low", "mere", "shaw",
    "stead", "ton", "well", "worth",
];
const STREETS: [&str; 6] = ["Street", "Road", "Lane", "Crescent", "Avenue", "Court"];
const TOWNS: [(&str, &str, &str); 8] = [
    ("Leeds", "West Yorkshire", "LS"),
    ("Bristol", "", "BS"),
    ("Norwich", "Norfolk", "NR"),
    ("Aberdeen", "", "AB"),
    ("Cardiff", "South Glamorgan", "CF"),
    ("Exeter", "Devon", "EX"),
    ("Belfast", "Antrim", "BT"),
    ("Southampton", "Hampshire", "SO"),
];
const ROLES: [&[&str]; 5] = [
    &["DIRECTOR", "SHAREHOLDER"],
    &["DIRECTOR"],
    &["SHAREHOLDER"],
    &["SECRETARY"],
    &["PAYROLL_CONTACT"],
];

/// The numbers of records, in this order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Practice {
    clients: usize,
    contacts: usize,
    addresses: usize,
    is_full: bool,
    fails: bool,
}

impl Practice {
    /// A practice with short ids, such as `C00001`.
    pub(crate) const fn new(records: usize) -> Self {
        let (clients, contacts) = (records * CLIENTS / 1_000, records * CONTACTS / 1_000);
        let addresses = records - clients - contacts;
        Self { clients, contacts, addresses, is_full: false, fails: false }
    }

    /// Adds optional fields, and ids as long as a UUID. A batch with the maximum number of
    /// records is then almost of the maximum size.
    pub(crate) const fn full(self) -> Self {
        Self { is_full: true, ..self }
    }

    /// Removes the names of clients. They fail, and so do all other records, which are their
    /// child records.
    pub(crate) const fn failing(self) -> Self {
        Self { fails: true, ..self }
    }

    /// Number of records.
    pub(crate) const fn len(self) -> usize {
        self.clients + self.contacts + self.addresses
    }

    /// All records, encoded.
    pub(crate) fn records(self) -> impl Iterator<Item = Bytes> + Send {
        (0..self.len()).map(move |number| self.record(number).encode_to_vec().into())
    }

    fn record(self, number: usize) -> ImportRecord {
        let record = if number < self.clients {
            Record::Client(self.client(number))
        } else if let Some(contact) = number.checked_sub(self.clients + self.contacts) {
            Record::Address(self.address(contact))
        } else {
            Record::Contact(self.contact(number - self.clients))
        };
        ImportRecord { record: Some(record), ..Default::default() }
    }

    fn id(self, letter: char, number: usize) -> String {
        let middle = self.optional("-5f2d41c0-9c1e-4b3a-8a6d-");
        format!("{letter}{middle}{number:05}")
    }

    /// The value of a field that only full records have.
    const fn optional(self, text: &str) -> &str {
        if self.is_full { text } else { "" }
    }

    fn client(self, number: usize) -> ImportClient {
        let random = scrambled(number);
        let client_type = match number % 16 {
            3 => "LIMITED_LIABILITY_PARTNERSHIP",
            7 | 11 => "OTHER",
            _ => "PRIVATE_LIMITED_COMPANY",
        };
        ImportClient {
            source_id: self.id('C', number),
            client_reference: format!("REF{number:05}"),
            client_type: client_type.to_owned(),
            registered_name: if self.fails {
                String::new()
            } else {
                let trade = pick(&TRADES, random / 384).copied().unwrap_or_default();
                format!("{} {trade} Limited", surname(random))
            },
            trading_name: self.optional("Harbour and Daughters").to_owned(),
            company_number: format!("{:08}", 1 + random),
            email: self.optional("accounts.department@harbour.example").to_owned(),
            phone: self.optional("+44 20 7946 0018").to_owned(),
            ..ImportClient::default()
        }
    }

    fn contact(self, number: usize) -> ImportContact {
        let random = scrambled(number);
        let roles_at = |client: usize, roles: usize| ContactClient {
            client_source_id: self.id('C', client % self.clients.max(1)),
            roles: pick(&ROLES, roles).copied().map(texts).unwrap_or_default(),
        };
        let mut clients = vec![roles_at(number, number)];
        if number.is_multiple_of(AT_TWO) {
            clients.push(roles_at(number + 1, number + 1));
        }
        ImportContact {
            source_id: self.id('P', number),
            clients,
            title: self.optional("Ms").to_owned(),
            middle_names: self.optional("Rhiannon").to_owned(),
            forename: pick(&FORENAMES, random / 384).copied().unwrap_or_default().to_owned(),
            surname: surname(random),
            birth_date: format!(
                "{}-{:02}-{:02}",
                1940 + random / 6_144 % 60,
                1 + random / 7 % 12,
                1 + random / 11 % 28
            ),
            email: self.optional("someone.or.other@harbour.example").to_owned(),
            phone: self.optional("+44 117 496 0123").to_owned(),
        }
    }

    /// Each client has a registered office, and some have a postal address. Each contact has a
    /// home address, and the remaining addresses are former homes.
    fn address(self, number: usize) -> ImportAddress {
        let Some(number) = number.checked_sub(self.clients) else {
            return self.client_address(number, "REGISTERED_OFFICE");
        };
        let Some(number) = number.checked_sub(self.clients / WITH_POSTAL) else {
            return self.client_address(number, "POSTAL");
        };
        let moved = "2019-07-01";
        let (letter, active_from, active_to) =
            if number < self.contacts { ('H', moved, "") } else { ('F', "2010-04-06", moved) };
        let contact = number % self.contacts.max(1);
        ImportAddress {
            source_id: self.id(letter, contact),
            owner_kind: "contact".to_owned(),
            owner_source_id: self.id('P', contact),
            r#type: "RESIDENTIAL".to_owned(),
            active_from: active_from.to_owned(),
            active_to: active_to.to_owned(),
            line_3: self.optional("Old Harbour Estate").to_owned(),
            ..ownerless_address(number)
        }
    }

    fn client_address(self, client: usize, kind: &str) -> ImportAddress {
        let letter = if kind == "POSTAL" { 'M' } else { 'R' };
        ImportAddress {
            source_id: self.id(letter, client),
            owner_kind: "client".to_owned(),
            owner_source_id: self.id('C', client),
            r#type: kind.to_owned(),
            line_3: self.optional("Old Harbour Estate").to_owned(),
            ..ownerless_address(client)
        }
    }
}

/// An address without an owner.
fn ownerless_address(number: usize) -> ImportAddress {
    let random = scrambled(number);
    let (town, county, area) = pick(&TOWNS, random).copied().unwrap_or_default();
    let street = pick(&STREETS, random / 8).copied().unwrap_or_default();
    ImportAddress {
        line_1: format!("{} {} {street}", 1 + random % 399, surname(random / 3)),
        line_2: if number.is_multiple_of(4) { String::new() } else { surname(random / 5) },
        town: town.to_owned(),
        county: county.to_owned(),
        postcode: format!("{area}{} {}AB", 1 + random % 19, 1 + random / 19 % 9),
        country: "GB".to_owned(),
        ..ImportAddress::default()
    }
}

/// One of 384 surnames, which recur.
fn surname(random: usize) -> String {
    let onset = pick(&ONSETS, random).copied().unwrap_or_default();
    let ending = pick(&ENDINGS, random / ONSETS.len()).copied().unwrap_or_default();
    format!("{onset}{ending}")
}

/// A permutation of the numbers below [`PRIME`], so that values are not in the order of an
/// index.
const fn scrambled(number: usize) -> usize {
    number * 61_803_399 % PRIME
}

fn pick<T>(from: &[T], random: usize) -> Option<&T> {
    from.get(random % from.len().max(1))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use concord_core::rules::import::{self, ParsedRecord};

    use super::*;

    fn parsed(practice: Practice) -> Vec<ParsedRecord> {
        practice.records().map(|record| import::parse_bytes(&record)).collect()
    }

    #[test]
    fn every_record_is_valid_and_has_its_parents() {
        for practice in [Practice::new(20_000), Practice::new(5_003).full()] {
            let records = parsed(practice);
            assert_eq!(records.len(), practice.len());
            let keys: HashSet<_> =
                records.iter().map(|record| (record.kind, record.source_id.clone())).collect();
            assert_eq!(keys.len(), records.len(), "duplicate key");
            for record in &records {
                assert!(record.outcome.is_ok() && !record.excluded, "{record:?}");
                assert!(record.parents.iter().all(|parent| keys.contains(parent)), "{record:?}");
            }
        }
    }

    #[test]
    fn company_numbers_are_unique() {
        let numbers: HashSet<_> =
            (0..138_000).map(|n| Practice::new(1_000_000).client(n).company_number).collect();
        assert_eq!(numbers.len(), 138_000);
    }
}
