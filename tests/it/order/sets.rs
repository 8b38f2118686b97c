//! Random records that get in each other's way: few source ids, few references,
//! few years.

use prost::Message as _;
use shared::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};

use super::naive::Kind;
use crate::support::dice::Dice;

/// A record, as far as the rules look at it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) source_id: String,
    /// The name; of an address the first line.
    pub(super) name: String,
    /// Of a client.
    pub(super) reference: String,
    /// Of a client.
    pub(super) self_assessment: bool,
    /// The clients of a contact, the owner of an address; in order, each once.
    pub(super) parents: Vec<(Kind, String)>,
    /// The type of an address.
    pub(super) place: String,
    /// The years of an address.
    pub(super) from: Option<i32>,
    pub(super) to: Option<i32>,
    /// As it is sent.
    pub(super) encoded: Vec<u8>,
}

/// Up to fifty records.
pub(super) fn entries(dice: &mut Dice) -> Vec<Entry> {
    let mut entries = Vec::new();
    for _ in 0..5 + dice.below(12) {
        entries.push(client(dice));
    }
    for _ in 0..3 + dice.below(10) {
        entries.push(contact(dice));
    }
    for _ in 0..5 + dice.below(15) {
        entries.push(address(dice));
    }
    for _ in 0..dice.below(8) {
        let again = dice.pick(&entries).clone();
        entries.push(again);
    }
    for entry in &mut entries {
        entry.encoded = encoded(entry, dice);
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
        place: String::new(),
        from: None,
        to: None,
        encoded: Vec::new(),
    }
}

fn client(dice: &mut Dice) -> Entry {
    let number = dice.below(20);
    let shared = if dice.chance(20) { dice.below(20) } else { number };
    let letter = if dice.chance(20) { "r" } else { "R" };
    Entry {
        reference: format!("{letter}{shared}"),
        self_assessment: dice.chance(15),
        ..entry(Kind::Client, format!("C{number}"), name(dice, "Acme Limited"))
    }
}

fn contact(dice: &mut Dice) -> Entry {
    let mut parents: Vec<_> = (0..=dice.below(3)).map(|_| client_key(dice)).collect();
    parents.sort();
    parents.dedup();
    let number = dice.below(16);
    Entry { parents, ..entry(Kind::Contact, format!("P{number}"), name(dice, "Hopper")) }
}

fn address(dice: &mut Dice) -> Entry {
    let of_client = dice.chance(60);
    let owner =
        if of_client { client_key(dice) } else { (Kind::Contact, format!("P{}", dice.below(16))) };
    let place = if of_client { *dice.pick(&["TRADING", "POSTAL"]) } else { "RESIDENTIAL" };
    let from = dice.chance(75).then(|| 2_000 + year(dice));
    let to = dice.chance(30).then(|| from.unwrap_or(2_000) + 1 + year(dice));
    let number = dice.below(30);
    Entry {
        parents: vec![owner],
        place: place.to_owned(),
        from,
        to,
        ..entry(Kind::Address, format!("A{number}"), name(dice, "1 Quay Street"))
    }
}

/// A client that may be there.
fn client_key(dice: &mut Dice) -> (Kind, String) {
    (Kind::Client, format!("C{}", dice.below(20)))
}

fn year(dice: &mut Dice) -> i32 {
    i32::try_from(dice.below(10)).unwrap()
}

/// A name: mostly the usual one, so that records of one key may be equal.
fn name<'a>(dice: &mut Dice, usual: &'a str) -> &'a str {
    match dice.below(20) {
        0 => "",
        1 => "Another",
        _ => usual,
    }
}

/// The record, perhaps with blanks that make no difference.
fn encoded(entry: &Entry, dice: &mut Dice) -> Vec<u8> {
    let blank = if dice.chance(20) { " " } else { "" };
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
    ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec()
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
        r#type: entry.place.clone(),
        active_from: day(entry.from),
        active_to: day(entry.to),
        ..ImportAddress::default()
    }
}
