//! Generates random records that conflict: with few source ids, references and years.

use concord_proto::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, import_record::Record,
};

use super::naive::Kind;
use concord_testing::e2e::{import_records, rng::SeededRng};

/// The parts of a record that the rules read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) source_id: String,
    /// The name, or the first line of an address.
    pub(super) name: String,
    /// The reference of a client.
    pub(super) reference: String,
    /// Whether a client has the excluded type.
    pub(super) self_assessment: bool,
    /// The clients of a contact, or the owner of an address: sorted and unique.
    pub(super) parents: Vec<(Kind, String)>,
    /// The type of an address.
    pub(super) address_type: String,
    /// The years of an address.
    pub(super) from: Option<i32>,
    pub(super) to: Option<i32>,
    /// The encoded record.
    pub(super) encoded: Vec<u8>,
}

/// Generates up to fifty records.
pub(super) fn entries(rng: &mut SeededRng) -> Vec<Entry> {
    let mut entries = Vec::new();
    for _ in 0..5 + rng.below(12) {
        entries.push(client(rng));
    }
    for _ in 0..3 + rng.below(10) {
        entries.push(contact(rng));
    }
    for _ in 0..5 + rng.below(15) {
        entries.push(address(rng));
    }
    for _ in 0..rng.below(8) {
        let again = rng.pick(&entries).clone();
        entries.push(again);
    }
    for entry in &mut entries {
        entry.encoded = encoded(entry, rng);
    }
    entries
}

fn entry(kind: Kind, source_id: String, name: &str) -> Entry {
    Entry {
        kind,
        source_id,
        name: name.to_owned(),
        reference: String::new(),
        self_assessment: false,
        parents: Vec::new(),
        address_type: String::new(),
        from: None,
        to: None,
        encoded: Vec::new(),
    }
}

fn client(rng: &mut SeededRng) -> Entry {
    let number = rng.below(20);
    let shared = if rng.chance(20) { rng.below(20) } else { number };
    let letter = if rng.chance(20) { "r" } else { "R" };
    Entry {
        reference: format!("{letter}{shared}"),
        self_assessment: rng.chance(15),
        ..entry(Kind::Client, format!("C{number}"), name(rng, "Acme Limited"))
    }
}

fn contact(rng: &mut SeededRng) -> Entry {
    let mut parents: Vec<_> = (0..=rng.below(3)).map(|_| client_key(rng)).collect();
    parents.sort();
    parents.dedup();
    let number = rng.below(16);
    Entry { parents, ..entry(Kind::Contact, format!("P{number}"), name(rng, "Hopper")) }
}

fn address(rng: &mut SeededRng) -> Entry {
    let of_client = rng.chance(60);
    let owner =
        if of_client { client_key(rng) } else { (Kind::Contact, format!("P{}", rng.below(16))) };
    let address_type = if of_client { *rng.pick(&["TRADING", "POSTAL"]) } else { "RESIDENTIAL" };
    let from = rng.chance(75).then(|| 2_000 + year(rng));
    let to = rng.chance(30).then(|| from.unwrap_or(2_000) + 1 + year(rng));
    let number = rng.below(30);
    Entry {
        parents: vec![owner],
        address_type: address_type.to_owned(),
        from,
        to,
        ..entry(Kind::Address, format!("A{number}"), name(rng, "1 Quay Street"))
    }
}

/// The key of a client that may exist.
fn client_key(rng: &mut SeededRng) -> (Kind, String) {
    (Kind::Client, format!("C{}", rng.below(20)))
}

fn year(rng: &mut SeededRng) -> i32 {
    i32::try_from(rng.below(10)).unwrap()
}

/// A name, mostly the usual one, so that records with one key may be equal.
fn name<'a>(rng: &mut SeededRng, usual: &'a str) -> &'a str {
    match rng.below(20) {
        0 => "",
        1 => "Another",
        _ => usual,
    }
}

/// Encodes the record, at random with blanks that the rules ignore.
fn encoded(entry: &Entry, rng: &mut SeededRng) -> Vec<u8> {
    let blank = if rng.chance(20) { " " } else { "" };
    let (source_id, name) =
        (format!("{}{blank}", entry.source_id), format!("{}{blank}", entry.name));
    let record = match entry.kind {
        Kind::Client => Record::Client(ImportClient {
            source_id,
            client_reference: entry.reference.clone(),
            client_type: client_type(entry.self_assessment).to_owned(),
            registered_name: name,
            ..ImportClient::default()
        }),
        Kind::Contact => Record::Contact(ImportContact {
            source_id,
            clients: entry.parents.iter().map(director).collect(),
            forename: "Grace".to_owned(),
            surname: name,
            ..ImportContact::default()
        }),
        Kind::Address => {
            Record::Address(ImportAddress { source_id, line_1: name, ..import_address(entry) })
        }
    };
    import_records::encoded(record)
}

fn client_type(self_assessment: bool) -> &'static str {
    if self_assessment { "SELF_ASSESSMENT" } else { "PRIVATE_LIMITED_COMPANY" }
}

fn director((_, client): &(Kind, String)) -> ContactClient {
    ContactClient { client_source_id: client.clone(), roles: vec!["DIRECTOR".to_owned()] }
}

fn import_address(entry: &Entry) -> ImportAddress {
    let (kind, owner) = &entry.parents[0];
    let day = |year: Option<i32>| year.map(|year| format!("{year}-04-06")).unwrap_or_default();
    ImportAddress {
        owner_kind: if *kind == Kind::Client { "client" } else { "contact" }.to_owned(),
        owner_source_id: owner.clone(),
        r#type: entry.address_type.clone(),
        active_from: day(entry.from),
        active_to: day(entry.to),
        ..ImportAddress::default()
    }
}
