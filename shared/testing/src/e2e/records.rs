//! Records for tests, builders of requests, and calls that many tests make.

use std::pin::Pin;

use crate::TestDb;
use concord_proto::pb::records::{
    AddEntryRequest, AddEntryResponse, AddPastEntryRequest, AddPastEntryResponse, Address,
    AddressType, AuditEntry, CancelScheduledEntryRequest, ChangeKind, Client, ClientFields,
    ClientType, Contact, ContactRole, CorrectEntryRequest, CreateClientRequest,
    CreateContactRequest, CreateContactResponse, CreatePersonRequest, EndEntryRequest, Entry,
    EntryStatus, GetClientRequest, GetPersonRequest, LinkClientRequest, LinkClientResponse,
    ListAuditEntriesRequest, ListClientsRequest, ListEntriesRequest, NewAddress, NewName,
    NewPerson, Person, PersonName, PurgeNowRequest, PurgeNowResponse, RemoveContactRequest,
    RescindEntryRequest, Role, Timeline, UnlinkClientRequest, UnlinkClientResponse,
    UnlinkPersonRequest, UnlinkPersonResponse, UpdateClientRequest, add_entry_request,
    add_past_entry_request, create_client_request::Individual, create_contact_request::Who,
    entry::Value,
};
use prost_types::FieldMask;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use super::{
    caller::{Caller, request_id},
    servers::{self, Running},
};

/// The reason of an error.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// A metadata value of an error.
pub fn error_metadata(status: &Status, name: &str) -> String {
    let details = status.get_error_details();
    details.error_info().and_then(|info| info.metadata.get(name).cloned()).unwrap_or_default()
}

/// The fields and descriptions of all field violations of an error.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    let reported =
        |violation: tonic_types::FieldViolation| (violation.field, violation.description);
    violations.unwrap_or_default().into_iter().map(reported).collect()
}

#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    why: &str,
) -> Status {
    let status = outcome.expect_err(why);
    assert_eq!((status.code(), reason(&status).as_str()), (code, why), "{}", status.message());
    status
}

/// Asserts that exactly one call succeeded, and that the others were refused.
#[track_caller]
pub fn assert_one_succeeds<T: std::fmt::Debug>(
    outcomes: Vec<Result<T, Status>>,
    code: Code,
    why: &str,
) {
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1, "{refused:?}");
    for refused in refused {
        assert_refused(refused, code, why);
    }
}

/// A company with a name since 2010.
pub fn company(reference: &str, name: &str) -> CreateClientRequest {
    CreateClientRequest {
        r#type: ClientType::PrivateLimitedCompany.into(),
        client_reference: reference.into(),
        registered_name: Some(NewName { name: name.into(), active_from: "2010-01-01".into() }),
        request_id: request_id(),
        ..CreateClientRequest::default()
    }
}

/// An individual with a new person.
pub fn individual(reference: &str, forename: &str, surname: &str) -> CreateClientRequest {
    CreateClientRequest {
        r#type: ClientType::Individual.into(),
        client_reference: reference.into(),
        individual: Some(Individual::Person(new_person(forename, surname))),
        request_id: request_id(),
        ..CreateClientRequest::default()
    }
}

pub fn person_name(forename: &str, surname: &str) -> PersonName {
    PersonName { forename: forename.into(), surname: surname.into(), ..PersonName::default() }
}

pub fn new_person(forename: &str, surname: &str) -> NewPerson {
    NewPerson { name: Some(person_name(forename, surname)), ..NewPerson::default() }
}

pub fn house(line_1: &str) -> Address {
    Address { line_1: line_1.into(), country: "GB".into(), ..Address::default() }
}

/// A trading address.
pub fn trading(line_1: &str, active_from: &str, active_to: &str) -> NewAddress {
    NewAddress {
        r#type: AddressType::Trading.into(),
        address: Some(house(line_1)),
        active_from: active_from.into(),
        active_to: active_to.into(),
        external_id: String::new(),
    }
}

/// Creates large clients, each with 100 addresses.
pub async fn create_large(caller: &Caller, count: usize) {
    let line = "n".repeat(200);
    let day = |n: u32| format!("{}-{:02}-01", 1990 + n / 12, n % 12 + 1);
    for number in 0..count {
        let address = |month| trading(&line, &day(month), &day(month + 1));
        let addresses = (0..100).map(address).collect();
        let reference = format!("LARGE{number}");
        let request = CreateClientRequest { addresses, ..company(&reference, "Large Limited") };
        create(caller, request).await;
    }
}

pub fn director() -> ContactRole {
    ContactRole { role: Role::Director.into(), ..ContactRole::default() }
}

/// A request that creates a person.
pub fn person_request(person: NewPerson) -> CreatePersonRequest {
    CreatePersonRequest { person: Some(person), request_id: request_id(), ..Default::default() }
}

/// A request that makes a person a director of a client.
pub fn contact_request(client: &str, who: Who) -> CreateContactRequest {
    CreateContactRequest {
        client: client.into(),
        who: Some(who),
        roles: vec![director()],
        request_id: request_id(),
        ..CreateContactRequest::default()
    }
}

/// A request that removes a contact.
pub fn removal(contact: &Contact) -> RemoveContactRequest {
    RemoveContactRequest {
        contact: contact.id.clone(),
        etag: contact.etag.clone(),
        request_id: request_id(),
        ..RemoveContactRequest::default()
    }
}

pub fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

/// A request that changes the fields `paths` of a client.
pub fn update_request(
    client: &Client,
    paths: &[&str],
    fields: ClientFields,
) -> UpdateClientRequest {
    UpdateClientRequest {
        client: client.id.clone(),
        fields: Some(fields),
        update_mask: Some(mask(paths)),
        etag: client.etag.clone(),
        request_id: request_id(),
        ..UpdateClientRequest::default()
    }
}

/// A request that links a client to the caller.
pub fn link_request(client: &str) -> LinkClientRequest {
    LinkClientRequest { client: client.into(), request_id: request_id(), ..Default::default() }
}

/// A request that removes the link of a client to the caller.
pub fn unlink_request(client: &str) -> UnlinkClientRequest {
    UnlinkClientRequest { client: client.into(), request_id: request_id(), ..Default::default() }
}

/// A request that purges a record.
pub fn purge_request(record: &str, reason: &str) -> PurgeNowRequest {
    PurgeNowRequest { record: record.into(), reason: reason.into(), request_id: request_id() }
}

/// A request that adds a trading address from a day on.
pub fn address_entry(record: &str, line_1: &str, on: &str, etag: &str) -> AddEntryRequest {
    AddEntryRequest {
        record: record.into(),
        timeline: Timeline::Address.into(),
        address_type: AddressType::Trading.into(),
        value: Some(add_entry_request::Value::Address(house(line_1))),
        effective_date: on.into(),
        current_etag: etag.into(),
        request_id: request_id(),
        ..AddEntryRequest::default()
    }
}

/// A request that adds a registered name from a day on.
pub fn name_entry(record: &str, name: &str, on: &str, etag: &str) -> AddEntryRequest {
    AddEntryRequest {
        timeline: Timeline::RegisteredName.into(),
        address_type: AddressType::Unspecified.into(),
        value: Some(add_entry_request::Value::Name(name.into())),
        ..address_entry(record, "", on, etag)
    }
}

/// A request that adds a past trading address.
pub fn past_address_entry(record: &str, line_1: &str, from: &str, to: &str) -> AddPastEntryRequest {
    AddPastEntryRequest {
        record: record.into(),
        timeline: Timeline::Address.into(),
        address_type: AddressType::Trading.into(),
        value: Some(add_past_entry_request::Value::Address(house(line_1))),
        active_from: from.into(),
        active_to: to.into(),
        request_id: request_id(),
        ..AddPastEntryRequest::default()
    }
}

/// A request that corrects `fields`. The caller sets the values.
pub fn correction(entry: &Entry, fields: &[&str]) -> CorrectEntryRequest {
    CorrectEntryRequest {
        entry: entry.id.clone(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        etag: entry.etag.clone(),
        request_id: request_id(),
        ..CorrectEntryRequest::default()
    }
}

pub fn end(entry: &Entry, on: &str) -> EndEntryRequest {
    EndEntryRequest {
        entry: entry.id.clone(),
        active_to: on.into(),
        etag: entry.etag.clone(),
        request_id: request_id(),
        ..EndEntryRequest::default()
    }
}

pub fn cancel(entry: &Entry) -> CancelScheduledEntryRequest {
    CancelScheduledEntryRequest {
        entry: entry.id.clone(),
        etag: entry.etag.clone(),
        request_id: request_id(),
        ..CancelScheduledEntryRequest::default()
    }
}

pub fn rescission(entry: &Entry, reason: &str) -> RescindEntryRequest {
    RescindEntryRequest {
        entry: entry.id.clone(),
        etag: entry.etag.clone(),
        reason: reason.into(),
        request_id: request_id(),
        ..RescindEntryRequest::default()
    }
}

/// An entry on one line: `Old House 2010-01-01..2019-07-01 past`.
pub fn line(entry: &Entry) -> String {
    let value = match &entry.value {
        Some(Value::Name(name)) => name.clone(),
        Some(Value::PersonName(name)) => format!("{} {}", name.forename, name.surname),
        Some(Value::Address(address)) => address.line_1.clone(),
        None => "nothing".into(),
    };
    let status = match entry.status() {
        EntryStatus::Past => "past",
        EntryStatus::Current => "current",
        EntryStatus::Scheduled => "scheduled",
        EntryStatus::Unspecified => "unspecified",
    };
    format!("{value} {}..{} {status}", entry.active_from, entry.active_to)
}

pub fn lines(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(line).collect()
}

pub async fn entries(caller: &Caller, record: &str, timeline: Timeline) -> Vec<Entry> {
    let request = ListEntriesRequest {
        record: record.into(),
        timeline: timeline.into(),
        ..ListEntriesRequest::default()
    };
    caller.history().list_entries(request).await.unwrap().into_inner().entries
}

pub async fn client(caller: &Caller, name: &str) -> Client {
    let request = GetClientRequest { client: name.into() };
    caller.clients().get_client(request).await.unwrap().into_inner().client.unwrap()
}

pub async fn person(caller: &Caller, name: &str) -> Person {
    let request = GetPersonRequest { person: name.into() };
    caller.persons().get_person(request).await.unwrap().into_inner().person.unwrap()
}

pub async fn create(caller: &Caller, request: CreateClientRequest) -> Client {
    caller.clients().create_client(request).await.unwrap().into_inner().client.unwrap()
}

/// All clients of the practice, in the order in which they were created.
pub async fn all_clients(caller: &Caller) -> Vec<Client> {
    let mut request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
    let mut clients = Vec::new();
    loop {
        let page = caller.clients().list_clients(request.clone()).await.unwrap().into_inner();
        clients.extend(page.clients);
        if page.next_page_token.is_empty() {
            return clients;
        }
        request.page_token = page.next_page_token;
    }
}

/// Creates a person as a director of `client`.
pub async fn appoint(
    caller: &Caller,
    client: &str,
    forename: &str,
    surname: &str,
) -> (Contact, Person) {
    let request = contact_request(client, Who::Person(new_person(forename, surname)));
    let created = caller.contacts().create_contact(request).await.unwrap().into_inner();
    let CreateContactResponse { contact, person, .. } = created;
    (contact.unwrap(), person.unwrap())
}

/// Links a client to the caller.
pub async fn link(
    caller: &Caller,
    client: &str,
    external_id: &str,
) -> Result<LinkClientResponse, Status> {
    let request = LinkClientRequest { external_id: external_id.into(), ..link_request(client) };
    caller.clients().link_client(request).await.map(Response::into_inner)
}

/// Removes the link of a client to the caller.
pub async fn unlink(caller: &Caller, client: &str) -> Result<UnlinkClientResponse, Status> {
    caller.clients().unlink_client(unlink_request(client)).await.map(Response::into_inner)
}

/// Removes the link of a person to the caller.
pub async fn unlink_person(caller: &Caller, person: &str) -> Result<UnlinkPersonResponse, Status> {
    let request = UnlinkPersonRequest {
        person: person.into(),
        request_id: request_id(),
        ..UnlinkPersonRequest::default()
    };
    caller.persons().unlink_person(request).await.map(Response::into_inner)
}

/// Purges a record.
pub async fn purge(caller: &Caller, record: &str) -> Result<PurgeNowResponse, Status> {
    let request = purge_request(record, "The practice asked for it");
    caller.support().purge_now(request).await.map(Response::into_inner)
}

/// The audit entries of a record, or of the practice, newest first.
pub async fn audit(caller: &Caller, record: &str) -> Vec<AuditEntry> {
    let request =
        ListAuditEntriesRequest { record: record.into(), ..ListAuditEntriesRequest::default() };
    caller.support().list_audit_entries(request).await.unwrap().into_inner().entries
}

/// The kinds of the audit entries, oldest first.
pub async fn kinds(caller: &Caller, record: &str) -> Vec<ChangeKind> {
    audit(caller, record).await.iter().rev().map(AuditEntry::kind).collect()
}

/// The client `ref:ACME` of `manager` in practice `p1`.
pub struct Acme {
    pub server: Running,
    pub manager: Caller,
    pub client: Client,
}

impl Acme {
    /// Creates the client with these trading addresses.
    pub async fn with_addresses(db: &TestDb, addresses: &[(&str, &str, &str)]) -> Self {
        let server = servers::records(db.settings()).await;
        let manager = server.owner("p1", "manager").await.connect().await;
        let addresses = addresses.iter().map(|(line, from, to)| trading(line, from, to)).collect();
        let request = CreateClientRequest { addresses, ..company("ACME", "Acme Limited") };
        let client = create(&manager, request).await;
        Self { server, manager, client }
    }

    /// Owners of a product, which is connected, one on each replica that the database
    /// allows, and the replicas that were started.
    pub async fn on_replicas(&self, db: &TestDb, product: &str) -> (Vec<Caller>, Vec<Running>) {
        let mut callers = vec![self.server.owner("p1", product).await.connect().await];
        let mut more = Vec::new();
        while callers.len() < servers::replicas(db) {
            let replica = servers::records(db.settings()).await;
            callers.push(replica.owner("p1", product).await);
            more.push(replica);
        }
        (callers, more)
    }

    pub async fn addresses(&self) -> Vec<Entry> {
        entries(&self.manager, &self.client.id, Timeline::Address).await
    }

    pub async fn names(&self) -> Vec<Entry> {
        entries(&self.manager, &self.client.id, Timeline::RegisteredName).await
    }

    pub async fn read(&self) -> Client {
        client(&self.manager, &self.client.id).await
    }

    /// Adds the trading address `line_1` from the day `on`, with the etag of the current
    /// one.
    pub async fn add_address(&self, line_1: &str, on: &str) -> Result<AddEntryResponse, Status> {
        let etag = current_etag(&self.addresses().await);
        let request = address_entry(&self.client.id, line_1, on, &etag);
        self.manager.history().add_entry(request).await.map(Response::into_inner)
    }

    /// Adds the registered name `name` from the day `on`.
    pub async fn add_name(&self, name: &str, on: &str) -> Result<AddEntryResponse, Status> {
        let etag = current_etag(&self.names().await);
        let request = name_entry(&self.client.id, name, on, &etag);
        self.manager.history().add_entry(request).await.map(Response::into_inner)
    }

    /// Adds a past entry, with the current etag of the record.
    pub async fn add_past_entry(
        &self,
        request: AddPastEntryRequest,
    ) -> Result<AddPastEntryResponse, Status> {
        let request = AddPastEntryRequest { etag: self.read().await.etag, ..request };
        self.manager.history().add_past_entry(request).await.map(Response::into_inner)
    }

    /// Asserts that a call is refused and changes nothing.
    pub fn assert_refuses<'a, T: std::fmt::Debug + 'a>(
        &'a self,
        call: impl Future<Output = Result<T, Status>> + 'a,
        code: Code,
        why: &'a str,
    ) -> Pin<Box<dyn Future<Output = Status> + 'a>> {
        let call = Box::pin(call);
        Box::pin(async move {
            let before = (self.read().await, kinds(&self.manager, "").await);
            let status = assert_refused(call.await, code, why);
            assert_eq!((self.read().await, kinds(&self.manager, "").await), before, "{why}");
            status
        })
    }
}

/// The etag of the current entry, or an empty text.
pub fn current_etag(entries: &[Entry]) -> String {
    let current = entries.iter().find(|entry| entry.status() == EntryStatus::Current);
    current.map(|entry| entry.etag.clone()).unwrap_or_default()
}
