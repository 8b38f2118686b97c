//! Creating clients and persons whole, with their first link.

use sea_orm::ConnectionTrait;
use shared::{
    caller::Caller,
    ids::{self, IdKind},
    pb::records::{Client, ErrorReason, Person, RecordState},
    rules::{
        Violations,
        draft::{AddressDraft, ClientDraft, PersonDraft},
        value::Value,
    },
    status::Refusal,
};
use uuid::Uuid;

use super::{
    Records, names,
    new_records::{Moment, NewRecords},
};
use crate::{
    domain::{
        link::{Link, LinkKind},
        record::RecordRef,
        timeline::{self, Entry, TimelineKey},
    },
    error::{RecordError, Taken, duplicate_reference},
    store::{changes::Audience, clients, persons},
};

/// An address of a new record, with the product's own id of it.
#[derive(Clone, Debug)]
pub(crate) struct AddressCommand {
    pub(crate) draft: AddressDraft,
    pub(crate) external_id: Option<String>,
}

/// A new person.
#[derive(Clone, Debug)]
pub(crate) struct PersonCommand {
    pub(crate) draft: PersonDraft,
    pub(crate) addresses: Vec<AddressCommand>,
}

/// Which person: a new one, or one that is there.
#[derive(Clone, Debug)]
pub(crate) enum WhichPerson {
    New(PersonCommand),
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
}

/// What a create answers.
#[derive(Debug, Default)]
pub(crate) struct Created<T> {
    pub(crate) record: T,
    pub(crate) person: Option<Person>,
    pub(crate) change_ids: Vec<String>,
}

impl Records {
    /// Creates a client.
    pub(crate) async fn create_client(
        &self,
        caller: Caller,
        mut command: ClientCommand,
    ) -> Result<Created<Client>, RecordError> {
        let at = self.moment();
        lay_out(&mut command.addresses, "addresses", at)?;
        if let Some(WhichPerson::New(person)) = &mut command.person {
            lay_out(&mut person.addresses, "person.addresses", at)?;
        }
        let key = command.draft.reference.key.clone();
        let practice = caller.practice.clone();
        let created = self.write((caller, command), move |tx, input| async move {
            create_client(&*tx, &input.0, input.1.clone(), at).await
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
        mut command: PersonCommand,
        external_id: Option<String>,
    ) -> Result<Created<Person>, RecordError> {
        let at = self.moment();
        lay_out(&mut command.addresses, "person.addresses", at)?;
        let input = (caller, command, external_id);
        let created = self.write(input, move |tx, input| async move {
            let (caller, command, external_id) = &*input;
            create_person(&*tx, caller, command.clone(), external_id.clone(), at).await
        });
        created.await
    }

    /// The time of a transaction that begins now.
    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), today: self.clock.today() }
    }
}

async fn create_client(
    db: &impl ConnectionTrait,
    caller: &Caller,
    command: ClientCommand,
    at: Moment,
) -> Result<Created<Client>, RecordError> {
    let audience = Audience::of(db, caller).await?;
    let mut new = NewRecords::default();
    let mut companions = Vec::new();
    let person = match command.person {
        None => None,
        Some(WhichPerson::New(person)) => Some(new_person(&mut new, caller, person, at)),
        Some(WhichPerson::Existing(name)) => {
            Some(existing_person(db, caller, "person_id", &name).await?)
        }
    };
    companions.extend(person.map(RecordRef::person));
    let id = new.client(command.draft, person, at);
    add_addresses(&mut new, caller, id, command.addresses, at);
    let external_id = command.external_id.unwrap_or_else(|| ids::text(IdKind::Client, id));
    new.links.push(link(caller, LinkKind::Client, external_id, id, at));
    let change = new.created(RecordRef::client(id), companions);
    let images = new.write(db, caller, &audience, at).await?;
    Ok(Created {
        record: images.clients.into_iter().next().unwrap_or_default(),
        person: images.persons.into_iter().next(),
        change_ids: vec![ids::text(IdKind::Change, change)],
    })
}

async fn create_person(
    db: &impl ConnectionTrait,
    caller: &Caller,
    command: PersonCommand,
    external_id: Option<String>,
    at: Moment,
) -> Result<Created<Person>, RecordError> {
    let audience = Audience::of(db, caller).await?;
    let mut new = NewRecords::default();
    let id = new_person(&mut new, caller, command, at);
    let external_id = external_id.unwrap_or_else(|| ids::text(IdKind::Person, id));
    new.links.push(link(caller, LinkKind::Person, external_id, id, at));
    let change = new.created(RecordRef::person(id), Vec::new());
    let images = new.write(db, caller, &audience, at).await?;
    Ok(Created {
        record: images.persons.into_iter().next().unwrap_or_default(),
        person: None,
        change_ids: vec![ids::text(IdKind::Change, change)],
    })
}

/// Adds a person with its addresses.
pub(super) fn new_person(
    new: &mut NewRecords,
    caller: &Caller,
    command: PersonCommand,
    at: Moment,
) -> Uuid {
    let id = new.person(command.draft, at);
    add_addresses(new, caller, id, command.addresses, at);
    id
}

/// The person that `name` names, locked: it cannot be removed meanwhile.
pub(super) async fn existing_person(
    db: &impl ConnectionTrait,
    caller: &Caller,
    field: &str,
    name: &str,
) -> Result<Uuid, RecordError> {
    let id = names::person(db, &caller.practice, field, name).await?;
    let found = persons::lock(db, &caller.practice, &[id]).await?;
    let active = found.iter().any(|person| person.life.state == RecordState::Active);
    if active { Ok(id) } else { Err(Refusal::not_found("person", name).into()) }
}

fn add_addresses(
    new: &mut NewRecords,
    caller: &Caller,
    owner: Uuid,
    addresses: Vec<AddressCommand>,
    at: Moment,
) {
    let (drafts, external_ids): (Vec<_>, Vec<_>) =
        addresses.into_iter().map(|address| (address.draft, address.external_id)).unzip();
    let entries = new.addresses(owner, drafts);
    for (entry, external_id) in entries.into_iter().zip(external_ids) {
        if let Some(external_id) = external_id {
            new.links.push(link(caller, LinkKind::Entry, external_id, entry, at));
        }
    }
}

/// A link of the caller's account.
pub(super) fn link(
    caller: &Caller,
    kind: LinkKind,
    external_id: String,
    record_id: Uuid,
    at: Moment,
) -> Link {
    Link {
        product: caller.product.clone(),
        account: caller.account.clone(),
        kind,
        external_id,
        record_id,
        import: None,
        linked_at: at.now,
        linked_by: caller.user.clone(),
    }
}

/// Ends open addresses where the next of their type begins, and refuses those
/// that cannot stand beside each other, all at once. `path` is that of the list.
pub(super) fn lay_out(
    addresses: &mut [AddressCommand],
    path: &str,
    at: Moment,
) -> Result<(), RecordError> {
    let mut wrong = Violations::new();
    let mut placed: Vec<Entry> = Vec::new();
    let closed: Vec<_> =
        addresses.iter().map(|address| closed_period(address, addresses)).collect();
    for (n, (address, period)) in addresses.iter_mut().zip(closed).enumerate() {
        address.draft.period = period;
        let timeline = TimelineKey::Address(address.draft.address_type);
        let value = Value::Address(address.draft.address.clone());
        let same: Vec<Entry> =
            placed.iter().filter(|entry| entry.timeline == timeline).cloned().collect();
        match timeline::place(&same, &value, period, at.today, |_| true) {
            Ok(_) => {}
            Err(refusal) => {
                let field = format!("{path}[{n}].active_from");
                wrong.push(field, refusal.reason(), describe(&refusal));
            }
        }
        placed.push(Entry { id: Uuid::nil(), owner: Uuid::nil(), timeline, value, period });
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

fn closed_period(address: &AddressCommand, all: &[AddressCommand]) -> shared::rules::date::Period {
    let of_type = all.iter().filter(|other| other.draft.address_type == address.draft.address_type);
    let others = of_type.map(|other| other.draft.period);
    let periods: Vec<_> = std::iter::once(address.draft.period).chain(others).collect();
    timeline::close_at_next(&periods).into_iter().next().unwrap_or(address.draft.period)
}

/// A refusal of a timeline for people, with the remedy.
pub(super) fn describe(refusal: &timeline::Refusal) -> &'static str {
    match refusal.reason() {
        ErrorReason::PeriodOverlap => {
            "Period overlaps another of the same timeline; correct its dates"
        }
        ErrorReason::ScheduledEntryExists => {
            "Another entry is to begin in the future; only one may"
        }
        _ => "Date is more than 366 days ahead; choose a nearer one",
    }
}
