//! Benchmarks of the pure code of the records service: the rules of timelines, the images
//! of records, and cursors.
//!
//! The code is private to the service, so the bench compiles its files. Images need an error
//! of the service, which is not pure; a part of it is repeated below.

use std::hint::black_box;

use chrono::{NaiveDate, Utc};
use concord_core::{
    clock::Clock,
    rules::{
        date::Period,
        draft::{Identifiers, Reference},
        value::{Address, Value},
    },
};
use concord_proto::pb::records::{AddressType, ClientType, Jurisdiction};
use criterion::Criterion;
use prost::Message as _;
use uuid::Uuid;

#[path = "../src"]
#[allow(
    dead_code,
    unused_imports,
    clippy::wildcard_imports,
    reason = "the bench needs a part of it, and no tests"
)]
mod source {
    pub(super) mod domain;
    pub(super) mod image;

    pub(super) mod feed {
        pub(crate) mod cursor;
    }
}

// The paths by which those files refer to each other.
use source::{domain, image};

/// The error of an image that cannot be decoded.
mod error {
    #[allow(dead_code, reason = "only the service reads it")]
    pub(crate) enum RecordError {
        Corrupt(&'static str),
    }
}

use domain::{
    feed_head::{FeedEnds, FeedHead},
    record::{Client, RecordMeta},
    resume_point::ResumePoint,
    timeline::{
        AddEntry, AddPastEntry, CorrectEntry, Decision, Entry, Timeline, TimelineError, TimelineKey,
    },
};
use source::feed::cursor::{Cursor, CursorSigner};

/// The numbers of entries of a timeline: few, and many years with frequent changes.
const ENTRIES: [usize; 2] = [2, 20];

const ADDRESS: TimelineKey = TimelineKey::Address(AddressType::RegisteredOffice);

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for entries in ENTRIES {
        timelines(&mut criterion, entries);
        images(&mut criterion, entries);
    }
    cursors(&mut criterion);
    criterion.final_summary();
}

fn timelines(criterion: &mut Criterion, count: usize) {
    let entries = entries(count);
    let load = || Timeline::on(year(count), owner(), ADDRESS, entries.iter().cloned()).0;
    criterion.bench_function(&format!("timeline of {count}/load"), |b| b.iter(load));
    let timeline = load();
    // A rejected decision would be fast.
    let mut time = |name: &str, decide: &dyn Fn() -> Result<Decision, TimelineError>| {
        assert!(decide().is_ok_and(|decision| !decision.edits.is_empty()), "{name}");
        criterion.bench_function(&format!("timeline of {count}/{name}"), |b| b.iter(decide));
    };
    let id = Uuid::from_u128(1_000);
    let add = AddEntry { id, value: value(count), effective_on: Some(year(count)) };
    time("add", &|| timeline.add(black_box(&add).clone()));
    let before = Period::new(Some(year(0) - chrono::Days::new(9)), Some(year(0)));
    let past = AddPastEntry { id, value: value(count), period: before, trim: false };
    time("add in the past", &|| timeline.add_past(black_box(&past).clone()));
    let (id, value) = (Uuid::from_u128(1), Some(value(count)));
    let correct = CorrectEntry { id, value, period: None, correct_history: true };
    time("correct", &|| timeline.correct(black_box(&correct).clone()));
}

fn images(criterion: &mut Criterion, count: usize) {
    let (client, entries) = (client(), entries(count));
    let image = || image::client(black_box(&client), black_box(&entries), year(count));
    criterion.bench_function(&format!("image/client with {count} entries"), |b| {
        b.iter(|| image().encode_to_vec());
    });
}

fn cursors(criterion: &mut Criterion) {
    let Ok(product) = "books".parse() else { return };
    let (ends, change) =
        (FeedEnds { head: 20_000, floor: 1, floor_change: None }, Some(Uuid::from_u128(50)));
    let (epoch, secret) = (Uuid::from_u128(7), vec![7; 32]);
    let feed_head = FeedHead { epoch, secret, ends: ends.clone(), position: 12_345, change };
    let signer = CursorSigner::of(&product, None, &feed_head);
    let make =
        || signer.cursor(ResumePoint::after(black_box(12_345)), Uuid::nil(), change).encode();
    criterion.bench_function("cursor/sign and encode", |b| b.iter(make));
    let text = make();
    let read = || Cursor::decode(black_box(&text)).map(|read| signer.check(&read, &ends, change));
    assert_eq!(read(), Some(Ok(())));
    criterion.bench_function("cursor/decode and check", |b| b.iter(read));
}

fn owner() -> Uuid {
    Uuid::from_u128(2_000)
}

/// The first day of a year, counted from the start of the timeline.
fn year(number: usize) -> NaiveDate {
    let year = i32::try_from(number).map(|number| 2000 + number);
    year.ok().and_then(|year| NaiveDate::from_ymd_opt(year, 1, 1)).unwrap_or_default()
}

/// An address for each year, the last of which is in effect.
fn entries(count: usize) -> Vec<Entry> {
    let entry = |number: usize| {
        let to = (number + 1 < count).then(|| year(number + 1));
        let (id, period) = (Uuid::from_u128(number as u128), Period::new(Some(year(number)), to));
        let entry = Entry::new(id, owner(), ADDRESS, value(number), period, year(count));
        if to.is_some() { entry.with_implicit_end() } else { entry }
    };
    (0..count).map(entry).collect()
}

fn value(number: usize) -> Value {
    Value::Address(Address {
        line_1: format!("{} Quay Street", number + 1),
        town: "Bristol".to_owned(),
        postcode: "BS1 4DJ".to_owned(),
        country: "GB".to_owned(),
        ..Address::default()
    })
}

fn client() -> Client {
    Client {
        id: owner(),
        client_type: ClientType::PrivateLimitedCompany,
        jurisdiction: Jurisdiction::EnglandWales,
        reference: Reference { text: "HARB001".to_owned(), key: "harb001".to_owned() },
        person_id: None,
        identifiers: Identifiers {
            company_number: Some("07687209".to_owned()),
            ..Identifiers::default()
        },
        emails: vec!["office@harbour.example".to_owned()],
        phones: vec!["020 7946 0018".to_owned()],
        meta: RecordMeta::new(Clock::fixed(chrono::DateTime::<Utc>::UNIX_EPOCH).now()),
    }
}
