//! Creating clients and persons whole, with their first link.

use shared::{
    caller::Caller,
    ids::{self, IdKind},
    pb::records::{CreateClientResponse, CreatePersonResponse, Person, RecordState, Warning},
    rules::{
        Violations,
        draft::{AddressDraft, ClientDraft, PersonDraft},
        value::Value,
    },
    status::Refusal,
};
use uuid::Uuid;

use super::{
    Records, duplicates,
    intent::Intent,
    names,
    new_records::NewRecords,
    reading::decode_on,
    script::{Answer, Script},
};
use crate::{
    domain::{
        link::{Link, LinkKind},
        moment::Moment,
        record::RecordRef,
        timeline::{self, Entry, MAX_DAYS_AHEAD, TimelineKey},
    },
    error::{RecordError, Taken, duplicate_reference},
    store::{clients, images, persons},
};

/// An address of a new record, with the product's own id of it.
#[derive(Clone, Debug)]
pub(crate) struct AddressCommand {
    pub(crate) draft: AddressDraft,
    /// Whether its end is only the start of the next one.
    pub(crate) closed_by_next: bool,
    pub(crate) external_id: Option<String>,
}

/// A new person.
#[derive(Clone, Debug)]
pub(crate) struct PersonCommand {
    pub(crate) draft: PersonDraft,
    pub(crate) addresses: Vec<AddressCommand>,
    /// What is kept although it looks wrong.
    pub(crate) warnings: Vec<Warning>,
}

/// Which person: a new one, or one that is there.
#[derive(Clone, Debug)]
pub(crate) enum WhichPerson {
    New(Box<PersonCommand>),
    /// By its id or an alias.
    Existing(String),
}

/// A new client.
#[derive(Clone, Debug)]
pub(crate) struct ClientCommand {
    pub(crate) draft: ClientDraft,
    /// Of an individual.
    pub(crate) person: Option<WhichPerson>,
    pub(crate) addresses: Vec<AddressCommand>,
    pub(crate) external_id: Option<String>,
    /// What is kept although it looks wrong; not that of the person.
    pub(crate) warnings: Vec<Warning>,
}

impl Records {
    /// Creates a client.
    pub(crate) async fn create_client(
        &self,
        caller: Caller,
        intent: Intent,
        mut command: ClientCommand,
    ) -> Result<CreateClientResponse, RecordError> {
        let at = self.moment();
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
        let created = self.mutate(caller, intent, command, move |script, command| async move {
            create_client(&script, ClientCommand::clone(&command)).await
        });
        match created.await {
            Err(RecordError::Taken(Taken::Reference)) => {
                let existing = clients::id_by_reference(self.db.reader(), &practice, &key).await?;
                let refused = |id| duplicate_reference(RecordRef::client(id)).into();
                Err(existing.map_or(RecordError::Raced, refused))
            }
            outcome => outcome,
        }
    }

    /// Creates a person.
    pub(crate) async fn create_person(
        &self,
        caller: Caller,
        intent: Intent,
        mut command: PersonCommand,
        external_id: Option<String>,
    ) -> Result<CreatePersonResponse, RecordError> {
        lay_out_person(&mut command, self.moment())?;
        let input = (command, external_id);
        let created = self.mutate(caller, intent, input, move |script, input| async move {
            let (command, external_id) = &*input;
            create_person(&script, command.clone(), external_id.clone()).await
        });
        created.await
    }
}

async fn create_client(
    script: &Script,
    command: ClientCommand,
) -> Result<Answer<CreateClientResponse>, RecordError> {
    let audience = script.audience().await?;
    let mut warnings = command.warnings;
    let mut possible_duplicates = duplicates::of_client(script, &command.draft).await?;
    let mut new = NewRecords::default();
    let person = match command.person {
        None => None,
        Some(WhichPerson::New(mut person)) => {
            warnings.append(&mut person.warnings);
            possible_duplicates.extend(duplicates::of_person(script, &person.draft).await?);
            Some(new_person(&mut new, script, *person))
        }
        Some(WhichPerson::Existing(name)) => {
            Some(existing_person(script, "person_id", &name).await?)
        }
    };
    let id = new.client(command.draft, person, script.at);
    add_addresses(&mut new, script, id, command.addresses);
    let external_id = command.external_id.unwrap_or_else(|| ids::text(IdKind::Client, id));
    new.links.push(link(script, LinkKind::Client, external_id, id));
    let companions = person.map(RecordRef::person).into_iter().collect();
    let change = new.created(RecordRef::client(id), companions);
    let images = new.write(script, &audience).await?;
    let response = CreateClientResponse {
        client: images.clients.into_iter().next(),
        person: match person {
            Some(person) => Some(person_image(script, images.persons, person).await?),
            None => None,
        },
        change_ids: vec![ids::text(IdKind::Change, change)],
        warnings,
        possible_duplicates,
    };
    Ok(Answer { response, record: id })
}

async fn create_person(
    script: &Script,
    mut command: PersonCommand,
    external_id: Option<String>,
) -> Result<Answer<CreatePersonResponse>, RecordError> {
    let audience = script.audience().await?;
    let warnings = std::mem::take(&mut command.warnings);
    let possible_duplicates = duplicates::of_person(script, &command.draft).await?;
    let mut new = NewRecords::default();
    let id = new_person(&mut new, script, command);
    let external_id = external_id.unwrap_or_else(|| ids::text(IdKind::Person, id));
    new.links.push(link(script, LinkKind::Person, external_id, id));
    let change = new.created(RecordRef::person(id), Vec::new());
    let images = new.write(script, &audience).await?;
    let response = CreatePersonResponse {
        person: images.persons.into_iter().next(),
        change_ids: vec![ids::text(IdKind::Change, change)],
        warnings,
        possible_duplicates,
    };
    Ok(Answer { response, record: id })
}

/// The image of a person: just created, or read.
pub(super) async fn person_image(
    script: &Script,
    created: Vec<Person>,
    id: Uuid,
) -> Result<Person, RecordError> {
    if let Some(person) = created.into_iter().next() {
        return Ok(person);
    }
    let image = images::get(script.db(), &script.caller.practice, RecordRef::person(id)).await?;
    decode_on(image.ok_or(RecordError::Corrupt("a person without an image"))?, script.at.today)
}

/// Adds a person with its addresses.
pub(super) fn new_person(new: &mut NewRecords, script: &Script, command: PersonCommand) -> Uuid {
    let id = new.person(command.draft, script.at);
    add_addresses(new, script, id, command.addresses);
    id
}

/// The person that `name` names, locked: it cannot be removed meanwhile.
pub(super) async fn existing_person(
    script: &Script,
    field: &str,
    name: &str,
) -> Result<Uuid, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let id = names::person(db, practice, field, name).await?;
    let found = persons::lock(db, practice, &[id]).await?;
    let active = found.iter().any(|person| person.life.state == RecordState::Active);
    if active { Ok(id) } else { Err(Refusal::not_found("person", name).into()) }
}

fn add_addresses(
    new: &mut NewRecords,
    script: &Script,
    owner: Uuid,
    addresses: Vec<AddressCommand>,
) {
    for AddressCommand { draft, closed_by_next, external_id } in addresses {
        let entry = new.address(owner, draft, closed_by_next, script.at).id;
        if let Some(external_id) = external_id {
            new.links.push(link(script, LinkKind::Entry, external_id, entry));
        }
    }
}

/// A link of the caller's account.
pub(super) fn link(script: &Script, kind: LinkKind, external_id: String, record_id: Uuid) -> Link {
    let caller = &script.caller;
    Link {
        product: caller.product.clone(),
        account: caller.account.clone(),
        kind,
        external_id,
        record_id,
        import: None,
        linked_at: script.at.now,
        linked_by: caller.user.clone(),
    }
}

/// As [`lay_out`], for a new person, whose name must not begin too far ahead.
pub(super) fn lay_out_person(person: &mut PersonCommand, at: Moment) -> Result<(), RecordError> {
    check_start("person.name_active_from", person.draft.name_active_from, at)?;
    lay_out(&mut person.addresses, "person.addresses", at)
}

/// Refuses a first name that begins too far ahead, as any entry is refused.
fn check_start(
    field: &str,
    active_from: Option<chrono::NaiveDate>,
    at: Moment,
) -> Result<(), RecordError> {
    let last = at.today.checked_add_days(chrono::Days::new(MAX_DAYS_AHEAD));
    if active_from <= last {
        return Ok(());
    }
    let refused = timeline::Refusal::TooFar;
    Err(Refusal::invalid_field(field, refused.reason(), refused.to_string()).into())
}

/// Ends open addresses where the next of their type begins, and refuses those
/// that cannot stand beside each other, all at once. `path` is that of the list.
fn lay_out(addresses: &mut [AddressCommand], path: &str, at: Moment) -> Result<(), RecordError> {
    let mut wrong = Violations::new();
    let mut placed: Vec<Entry> = Vec::new();
    let closed: Vec<_> =
        addresses.iter().map(|address| closed_period(address, addresses)).collect();
    for (n, (address, period)) in addresses.iter_mut().zip(closed).enumerate() {
        address.closed_by_next = address.draft.period.to.is_none() && period.to.is_some();
        address.draft.period = period;
        let timeline = TimelineKey::Address(address.draft.address_type);
        let value = Value::Address(address.draft.address.clone());
        let same: Vec<Entry> =
            placed.iter().filter(|entry| entry.timeline == timeline).cloned().collect();
        match timeline::place(&same, &value, period, at.today, |_| true) {
            Ok(_) => {}
            Err(refusal) => {
                let field = format!("{path}[{n}].active_from");
                wrong.push(field, refusal.reason(), refusal.to_string());
            }
        }
        placed.push(Entry::new(Uuid::nil(), Uuid::nil(), timeline, value, period, at.today));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

fn closed_period(address: &AddressCommand, all: &[AddressCommand]) -> shared::rules::date::Period {
    let of_type = all.iter().filter(|other| other.draft.address_type == address.draft.address_type);
    let others = of_type.map(|other| other.draft.period);
    let periods: Vec<_> = std::iter::once(address.draft.period).chain(others).collect();
    timeline::close_at_next(&periods).into_iter().next().unwrap_or(address.draft.period)
}
