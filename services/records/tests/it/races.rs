//! Races between saves and an import of the same records: each record is created once. A
//! race is repeated until each side was first.

use std::{ops::RangeInclusive, time::Duration};

use concord_proto::{
    pb::{
        imports::{ImportContact, RecordStatus, import_record::Record},
        internal::{ApplyChunkRequest, ApplyOutcome},
        records::{
            CreateClientRequest, CreateContactRequest, ListContactsRequest, NewPerson,
            create_contact_request::Who, list_contacts_request::Of,
        },
    },
    wire::ApplyRecord,
};
use concord_testing::{TestDb, storage_tests};
use tokio::time::sleep;
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    chunk::{apply_record, client, reasons},
    failure::retry_until_accepted,
    import_records::director,
    records::{all_clients, company, contact_request, link, new_person, reason},
    servers::{self, Running},
};

storage_tests! {
    concurrent_save_and_import_create_client_once,
    concurrent_save_and_import_create_contact_once,
}

const IMPORT: &str = "imp_00000000000000000000000000000001";

/// Records of a chunk.
const RECORDS: usize = 24;

/// Rounds. In each, a chunk is applied concurrently with one save for each of its records.
/// A race ends when both orders were met, but not before the first of these numbers of
/// rounds, and fails after the last.
const ROUNDS: RangeInclusive<usize> = 8..=200;

/// How often each side was first, for each way to save a record.
#[derive(Debug)]
struct Orders<const WAYS: usize> {
    import_first: [usize; WAYS],
    save_first: [usize; WAYS],
}

impl<const WAYS: usize> Orders<WAYS> {
    fn new() -> Self {
        Self { import_first: [0; WAYS], save_first: [0; WAYS] }
    }

    fn count(&mut self, way: usize, save_first: bool) {
        let orders = if save_first { &mut self.save_first } else { &mut self.import_first };
        orders[way] += 1;
    }

    /// True if more rounds are needed.
    ///
    /// # Panics
    ///
    /// If an order was not met in the last round.
    fn needs_round(&self, round: usize) -> bool {
        let met = self.import_first.iter().chain(&self.save_first).all(|count| *count > 0);
        assert!(met || round < *ROUNDS.end(), "an order was not met: {self:?}");
        !met || round < *ROUNDS.start()
    }
}

/// The delays of the saves and of the import in a round. One side starts later, alternately
/// and each time by more, so that either order occurs on a machine of any speed.
fn delays(round: usize) -> (Duration, Duration) {
    let late = Duration::from_millis(round as u64 / 2);
    if round.is_multiple_of(2) { (Duration::ZERO, late) } else { (late, Duration::ZERO) }
}

/// Callers of a replica for the products and, if the database allows a second replica, of
/// another one for the imports service.
struct Callers {
    _replicas: Vec<Running>,
    manager: Caller,
    books: Caller,
    service: Caller,
}

impl Callers {
    async fn start(db: &TestDb) -> Self {
        let mut replicas = Vec::new();
        servers::add_replicas(db, &mut replicas).await;
        let product =
            async |replica: &Running, product| replica.owner("p1", product).await.connect().await;
        let manager = product(&replicas[0], "manager").await;
        let books = product(&replicas[0], "books").await;
        let service = product(&replicas[replicas.len() - 1], "manager").await.for_import(IMPORT);
        Self { _replicas: replicas, manager, books, service }
    }

    /// Applies records. Returns an outcome for each.
    async fn apply(&self, records: Vec<ApplyRecord>) -> Vec<ApplyOutcome> {
        let apply = || {
            let request = ApplyChunkRequest { records: records.clone(), ..Default::default() };
            async move { self.service.ingest().apply_chunk(request).await }
        };
        retry_until_accepted(apply).await.unwrap().into_inner().outcomes
    }

    /// The references of all clients, sorted.
    async fn references(&self) -> Vec<String> {
        let all = all_clients(&self.manager).await.into_iter();
        let mut all: Vec<_> = all.map(|client| client.client_reference).collect();
        all.sort();
        all
    }
}

fn incoming_client(id: &str) -> ApplyRecord {
    client(&format!("C{id}"), &format!("R{id}"), &format!("Case {id} Limited"))
}

/// How a product saves a client that is also in the import.
#[derive(Clone, Copy, Debug)]
enum Saved {
    /// By the same product, with the source id as external id.
    SameIdAndReference,
    /// By the same product, with another external id.
    SameReference,
    /// By the same product, with the source id as external id and another reference.
    SameId,
    /// By another product.
    ByOtherProduct,
}

impl Saved {
    const ALL: [Self; 4] =
        [Self::SameIdAndReference, Self::SameReference, Self::SameId, Self::ByOtherProduct];

    fn request(self, id: &str) -> CreateClientRequest {
        let (same_id, same_reference) = match self {
            Self::SameIdAndReference => (true, true),
            Self::SameReference | Self::ByOtherProduct => (false, true),
            Self::SameId => (true, false),
        };
        let reference = if same_reference { format!("R{id}") } else { format!("Q{id}") };
        let external_id = if same_id { format!("C{id}") } else { String::new() };
        let name = format!("Case {id} Limited");
        CreateClientRequest { external_id, ..company(&reference, &name) }
    }

    /// The outcome of the imported record if the save was first.
    fn outcome_if_saved_first(self) -> (RecordStatus, &'static [&'static str]) {
        match self {
            Self::SameIdAndReference | Self::SameId => (RecordStatus::Skipped, &[]),
            Self::SameReference => (RecordStatus::Failed, &["DUPLICATE_REFERENCE"]),
            Self::ByOtherProduct => (RecordStatus::Linked, &[]),
        }
    }
}

fn reported(outcome: &ApplyOutcome) -> (RecordStatus, Vec<&str>) {
    (outcome.status(), reasons(outcome))
}

async fn concurrent_save_and_import_create_client_once(db: TestDb) {
    let callers = Callers::start(&db).await;
    let (mut orders, mut expected, mut round) = (Orders::<4>::new(), Vec::new(), 0);
    while orders.needs_round(round) {
        let (save_after, import_after) = delays(round);
        let ids: Vec<_> = (0..RECORDS).map(|n| format!("{round}-{n}")).collect();
        // In reverse order, so that some saves are first and some are second.
        let saves = (0..RECORDS).rev().map(|n| {
            let how = Saved::ALL[n % 4];
            let caller = if matches!(how, Saved::ByOtherProduct) {
                &callers.books
            } else {
                &callers.manager
            };
            let (caller, request) = (caller.clone(), how.request(&ids[n]));
            tokio::spawn(async move {
                sleep(save_after).await;
                let save = move || {
                    let (caller, request) = (caller.clone(), request.clone());
                    async move { caller.clients().create_client(request).await }
                };
                retry_until_accepted(save).await
            })
        });
        let mut saves: Vec<_> = saves.collect();
        saves.reverse();
        sleep(import_after).await;
        let outcomes = callers.apply(ids.iter().map(|id| incoming_client(id)).collect()).await;
        for (n, (save, outcome)) in saves.into_iter().zip(&outcomes).enumerate() {
            let (how, answer) = (Saved::ALL[n % 4], save.await.unwrap());
            let save_first = answer.is_ok();
            orders.count(n % 4, save_first);
            match answer {
                Ok(_) => {
                    let (status, reasons) = how.outcome_if_saved_first();
                    assert_eq!(reported(outcome), (status, reasons.to_vec()), "{how:?}");
                }
                Err(refused) => {
                    assert_eq!(refused.code(), Code::AlreadyExists, "{how:?} {refused:?}");
                    assert!(reason(&refused).starts_with("DUPLICATE_"));
                    assert_eq!(reported(outcome), (RecordStatus::Imported, vec![]), "{how:?}");
                }
            }
            let other = matches!(how, Saved::SameId) && save_first;
            expected.push(format!("{}{}", if other { 'Q' } else { 'R' }, ids[n]));
        }
        round += 1;
    }
    expected.sort();
    assert_eq!(callers.references().await, expected);
}

/// The birth date of all persons of a round. Duplicate detection compares at most one
/// hundred persons with the same birth date.
fn birth_date(round: usize) -> String {
    format!("{}-{:02}-01", 1920 + round % 100, 1 + round / 100)
}

fn person(round: usize, id: &str) -> NewPerson {
    NewPerson { birth_date: birth_date(round), ..new_person("Ann", &format!("Case {id}")) }
}

fn incoming_contact(round: usize, id: &str, client: &str) -> ApplyRecord {
    let source_id = format!("C{id}");
    let contact = ImportContact {
        forename: "Ann".into(),
        surname: format!("Case {id}"),
        birth_date: birth_date(round),
        ..director(&format!("P{id}"), &[&source_id])
    };
    apply_record(Record::Contact(contact), &[(&source_id, client)])
}

async fn concurrent_save_and_import_create_contact_once(db: TestDb) {
    let callers = Callers::start(&db).await;
    let (mut orders, mut round) = (Orders::<2>::new(), 0);
    while orders.needs_round(round) {
        let (save_after, import_after) = delays(round);
        let ids: Vec<_> = (0..RECORDS).map(|n| format!("{round}-{n}")).collect();
        let clients = callers.apply(ids.iter().map(|id| incoming_client(id)).collect()).await;
        let clients: Vec<_> = clients.into_iter().map(|client| client.record_id).collect();
        for client in clients.iter().skip(1).step_by(2) {
            link(&callers.books, client, "").await.unwrap();
        }
        // By the same product with the source id as external id, and by another product.
        let saves = (0..RECORDS).rev().map(|n| {
            let same = n % 2 == 0;
            let caller = if same { callers.manager.clone() } else { callers.books.clone() };
            let request = CreateContactRequest {
                external_id: if same { format!("P{}", ids[n]) } else { String::new() },
                ..contact_request(&clients[n], Who::Person(person(round, &ids[n])))
            };
            tokio::spawn(async move {
                sleep(save_after).await;
                let create = move || {
                    let (caller, request) = (caller.clone(), request.clone());
                    async move { caller.contacts().create_contact(request).await }
                };
                retry_until_accepted(create).await
            })
        });
        let mut saves: Vec<_> = saves.collect();
        saves.reverse();
        let contacts =
            ids.iter().zip(&clients).map(|(id, client)| incoming_contact(round, id, client));
        let contacts = contacts.collect();
        sleep(import_after).await;
        let outcomes = callers.apply(contacts).await;
        for (n, (save, outcome)) in saves.into_iter().zip(&outcomes).enumerate() {
            let (status, save) = (outcome.status(), save.await.unwrap());
            orders.count(n % 2, status != RecordStatus::Imported);
            let expected = match (n % 2 == 0, save) {
                (true, Ok(_)) => {
                    assert_eq!(status, RecordStatus::Skipped);
                    1
                }
                (true, Err(refused)) => {
                    assert_eq!(reason(&refused), "DUPLICATE_EXTERNAL_ID");
                    assert_eq!(status, RecordStatus::Imported);
                    1
                }
                // A product that creates an existing person gets it as a possible duplicate.
                (false, Ok(created)) if status == RecordStatus::Imported => {
                    assert!(!created.into_inner().possible_duplicates.is_empty());
                    2
                }
                (false, created) => {
                    let person = created.unwrap().into_inner().person.unwrap();
                    assert_eq!((status, &person.id), (RecordStatus::Linked, &outcome.record_id));
                    1
                }
            };
            let of = Some(Of::Client(clients[n].clone()));
            let request = ListContactsRequest { of, ..ListContactsRequest::default() };
            let listed = callers.manager.contacts().list_contacts(request).await.unwrap();
            assert_eq!(listed.into_inner().contacts.len(), expected, "{}", ids[n]);
        }
        round += 1;
    }
}
