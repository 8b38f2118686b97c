//! Creating clients and persons with their entries and their first link.

use concord_core::{
    caller::Caller,
    ids::{self, IdKind},
    rules::{
        FieldViolations,
        draft::{AddressDraft, ClientDraft, PersonDraft},
        value::Value,
    },
    status::ApiError,
};
use concord_proto::pb::records::{
    CreateClientResponse, CreatePersonResponse, Person, RecordKind, RecordState, Warning,
};
use uuid::Uuid;

use super::{
    Records, duplicates,
    links::new_link,
    new_records::NewRecords,
    request_context::RequestContext,
    resolve,
    unit_of_work::{Answer, RequestTime, UnitOfWork},
};
use crate::{
    domain::{
        link::LinkKind,
        record::RecordRef,
        timeline::{self, Entry, MAX_DAYS_AHEAD, TimelineKey},
    },
    error::{RecordError, UniqueViolation, duplicate_reference},
    image::decode_on,
    store::{clients, images, persons},
};

/// An address of a new record, with the product's own id of it.
#[derive(Clone, Debug)]
pub(crate) struct AddressCommand {
    pub(crate) draft: AddressDraft,
    /// True if its end was not given, but is the start of the next address.
    pub(crate) implicit_end: bool,
    pub(crate) external_id: Option<String>,
}

/// A new person.
#[derive(Clone, Debug)]
pub(crate) struct PersonCommand {
    pub(crate) draft: PersonDraft,
    pub(crate) addresses: Vec<AddressCommand>,
    /// Values that are stored although they look wrong.
    pub(crate) warnings: Vec<Warning>,
}

/// A person: a new one, or an existing one.
#[derive(Clone, Debug)]
pub(crate) enum WhichPerson {
    New(Box<PersonCommand>),
    /// The id or an alias of a person.
    Existing(String),
}

/// A new client.
#[derive(Clone, Debug)]
pub(crate) struct ClientCommand {
    pub(crate) draft: ClientDraft,
    /// The person of an individual.
    pub(crate) person: Option<WhichPerson>,
    pub(crate) addresses: Vec<AddressCommand>,
    pub(crate) external_id: Option<String>,
    /// Values that are stored although they look wrong, without those of the person.
    pub(crate) warnings: Vec<Warning>,
}

impl Records {
    /// Creates a client.
    pub(crate) async fn create_client(
        &self,
        caller: Caller,
        context: RequestContext,
        mut command: ClientCommand,
    ) -> Result<CreateClientResponse, RecordError> {
        let at = self.request_time();
        let ClientDraft { registered_name, trading_name, .. } = &command.draft;
        for (field, name) in [("registered_name", registered_name), ("trading_name", trading_name)]
        {
            let active_from = name.as_ref().and_then(|name| name.active_from);
            check_start(&format!("{field}.active_from"), active_from, at)?;
        }
        lay_out(&mut command.addresses, "addresses", at)?;
        if let Some(WhichPerson::New(person)) = &mut command.person {
            lay_out_person(person, at)?;
        }
        let key = command.draft.reference.key.clone();
        let practice = caller.practice.clone();
        let created = self.mutate(caller, context, command, move |work, command| async move {
            create_client(&work, ClientCommand::clone(&command)).await
        });
        match created.await {
            Err(RecordError::UniqueViolation(UniqueViolation::Reference)) => {
                let existing = clients::id_by_reference(self.db.reader_of(&practice), &key).await?;
                let duplicate = |id| duplicate_reference(RecordRef::client(id)).into();
                Err(existing.map_or(RecordError::WriteConflict, duplicate))
            }
            outcome => outcome,
        }
    }

    /// Creates a person.
    pub(crate) async fn create_person(
        &self,
        caller: Caller,
        context: RequestContext,
        mut command: PersonCommand,
        external_id: Option<String>,
    ) -> Result<CreatePersonResponse, RecordError> {
        lay_out_person(&mut command, self.request_time())?;
        let input = (command, external_id);
        let created = self.mutate(caller, context, input, move |work, input| async move {
            let (command, external_id) = &*input;
            create_person(&work, command.clone(), external_id.clone()).await
        });
        created.await
    }
}

async fn create_client(
    work: &UnitOfWork,
    command: ClientCommand,
) -> Result<Answer<CreateClientResponse>, RecordError> {
    let recipients = work.recipients().await?;
    let mut warnings = command.warnings;
    let mut possible_duplicates = duplicates::of_client(work, &command.draft).await?;
    let mut new = NewRecords::default();
    let person = match command.person {
        None => None,
        Some(WhichPerson::New(mut person)) => {
            warnings.append(&mut person.warnings);
            possible_duplicates.extend(duplicates::of_person(work, &person.draft).await?);
            Some(new_person(&mut new, work, *person))
        }
        Some(WhichPerson::Existing(name)) => Some(existing_person(work, "person_id", &name).await?),
    };
    let id = new.client(command.draft, person, work.at);
    add_addresses(&mut new, work, id, command.addresses);
    let external_id = command.external_id.unwrap_or_else(|| ids::text(IdKind::Client, id));
    new.links.push(new_link(work, LinkKind::Client, external_id, id));
    let companions = person.map(RecordRef::person).into_iter().collect();
    let change = new.created(RecordRef::client(id), companions);
    let images = new.write(work, &recipients).await?;
    let response = CreateClientResponse {
        client: images.clients.into_iter().next(),
        person: match person {
            Some(person) => Some(person_image(work, images.persons, person).await?),
            None => None,
        },
        change_ids: vec![ids::text(IdKind::Change, change)],
        warnings,
        possible_duplicates,
    };
    Ok(Answer { response, record: id })
}

async fn create_person(
    work: &UnitOfWork,
    mut command: PersonCommand,
    external_id: Option<String>,
) -> Result<Answer<CreatePersonResponse>, RecordError> {
    let recipients = work.recipients().await?;
    let warnings = std::mem::take(&mut command.warnings);
    let possible_duplicates = duplicates::of_person(work, &command.draft).await?;
    let mut new = NewRecords::default();
    let id = new_person(&mut new, work, command);
    let external_id = external_id.unwrap_or_else(|| ids::text(IdKind::Person, id));
    new.links.push(new_link(work, LinkKind::Person, external_id, id));
    let change = new.created(RecordRef::person(id), Vec::new());
    let images = new.write(work, &recipients).await?;
    let response = CreatePersonResponse {
        person: images.persons.into_iter().next(),
        change_ids: vec![ids::text(IdKind::Change, change)],
        warnings,
        possible_duplicates,
    };
    Ok(Answer { response, record: id })
}

/// The image of a person: of the created one, or else the stored image.
pub(super) async fn person_image(
    work: &UnitOfWork,
    created: Vec<Person>,
    id: Uuid,
) -> Result<Person, RecordError> {
    if let Some(person) = created.into_iter().next() {
        return Ok(person);
    }
    let image = images::get(work.db(), RecordRef::person(id)).await?;
    decode_on(image.ok_or(RecordError::Corrupt("a person without an image"))?, work.at.today)
}

/// Adds a person with its addresses.
pub(super) fn new_person(new: &mut NewRecords, work: &UnitOfWork, command: PersonCommand) -> Uuid {
    let id = new.person(command.draft, work.at);
    add_addresses(new, work, id, command.addresses);
    id
}

/// Resolves and locks a person, so that it cannot be removed concurrently.
pub(super) async fn existing_person(
    work: &UnitOfWork,
    field: &str,
    name: &str,
) -> Result<Uuid, RecordError> {
    let db = work.db();
    let id = resolve::of_kind(db, RecordKind::Person, field, name).await?.id;
    let found = persons::lock(db, &[id]).await?;
    let active = found.iter().any(|person| person.meta.state == RecordState::Active);
    if active { Ok(id) } else { Err(ApiError::not_found("person", name).into()) }
}

fn add_addresses(
    new: &mut NewRecords,
    work: &UnitOfWork,
    owner: Uuid,
    addresses: Vec<AddressCommand>,
) {
    for AddressCommand { draft, implicit_end, external_id } in addresses {
        let entry = new.address(owner, draft, implicit_end, work.at).id;
        if let Some(external_id) = external_id {
            new.links.push(new_link(work, LinkKind::Entry, external_id, entry));
        }
    }
}

/// As [`lay_out`], for a new person. Checks the start of its name too.
pub(super) fn lay_out_person(
    person: &mut PersonCommand,
    at: RequestTime,
) -> Result<(), RecordError> {
    check_start("person.name_active_from", person.draft.name_active_from, at)?;
    lay_out(&mut person.addresses, "person.addresses", at)
}

/// Checks that a first name does not start too far in the future.
fn check_start(
    field: &str,
    active_from: Option<chrono::NaiveDate>,
    at: RequestTime,
) -> Result<(), RecordError> {
    let last = at.today.checked_add_days(chrono::Days::new(MAX_DAYS_AHEAD));
    if active_from <= last {
        return Ok(());
    }
    let error = timeline::TimelineError::TooFar;
    Err(ApiError::invalid_field(field, error.reason(), error.to_string()).into())
}

/// Ends open addresses where the next one of their type begins, and collects the
/// violations of all addresses that overlap. `path` is the path of the list.
fn lay_out(
    addresses: &mut [AddressCommand],
    path: &str,
    at: RequestTime,
) -> Result<(), RecordError> {
    let mut wrong = FieldViolations::new();
    let mut placed: Vec<Entry> = Vec::new();
    let closed: Vec<_> =
        addresses.iter().map(|address| closed_period(address, addresses)).collect();
    for (n, (address, period)) in addresses.iter_mut().zip(closed).enumerate() {
        address.implicit_end = address.draft.period.to.is_none() && period.to.is_some();
        address.draft.period = period;
        let timeline = TimelineKey::Address(address.draft.address_type);
        let value = Value::Address(address.draft.address.clone());
        let same: Vec<Entry> =
            placed.iter().filter(|entry| entry.timeline == timeline).cloned().collect();
        match timeline::place(&same, &value, period, at.today, |_| true) {
            Ok(_) => {}
            Err(error) => {
                let field = format!("{path}[{n}].active_from");
                wrong.push(field, error.reason(), error.to_string());
            }
        }
        placed.push(Entry::new(Uuid::nil(), Uuid::nil(), timeline, value, period, at.today));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

fn closed_period(
    address: &AddressCommand,
    all: &[AddressCommand],
) -> concord_core::rules::date::Period {
    let of_type = all.iter().filter(|other| other.draft.address_type == address.draft.address_type);
    let others = of_type.map(|other| other.draft.period);
    let periods: Vec<_> = std::iter::once(address.draft.period).chain(others).collect();
    timeline::close_at_next(&periods).into_iter().next().unwrap_or(address.draft.period)
}
