//! What the service does alike with clients and with persons: both are subjects, which have
//! timelines, links and a search document. A contact has none of these.

use chrono::NaiveDate;
use concord_core::ids::new_uuid;
use concord_proto::pb::records::{self as pb, ChangeKind, ClientType, RecordKind};
use prost::Message;
use uuid::Uuid;

use super::{search_document, unit_of_work::UnitOfWork};
use crate::{
    domain::{
        change::Change,
        record::{Client, Person, RecordMeta, RecordRef},
        timeline::{Entry, TimelineKey},
    },
    error::RecordError,
    image,
    store::{clients, entries, persons, search},
};

/// The row of a client or of a person. Its timelines are separate: functions that need them
/// take the entries. The futures are `Send`, as those of a unit of work must be.
pub(super) trait Subject: Send + Sync + Sized + 'static {
    const KIND: RecordKind;
    /// The subject as a message.
    type Image: Message + 'static;

    fn meta(&self) -> RecordMeta;
    /// Sets the metadata after a change. Returns the change; that of an individual client has
    /// the person of the client as companion.
    fn changed(&mut self, kind: ChangeKind, meta: RecordMeta) -> Change;
    /// Why the subject cannot have this timeline; `None` if it can.
    fn refusal(&self, timeline: TimelineKey) -> Option<&'static str>;
    /// The message as it is on the day `today`.
    fn image(&self, entries: &[Entry], today: NaiveDate) -> Self::Image;
    fn etag(image: &Self::Image) -> &str;

    /// The subject with this id, locked.
    fn lock(
        work: &UnitOfWork,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Self>, RecordError>> + Send;
    /// Writes the row with the image.
    fn update(
        self,
        work: &UnitOfWork,
        image: &Self::Image,
    ) -> impl Future<Output = Result<(), RecordError>> + Send;
    /// Rebuilds the search documents that contain the names of the subject.
    fn reindex(
        &self,
        work: &UnitOfWork,
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), RecordError>> + Send;
}

impl Subject for Client {
    const KIND: RecordKind = RecordKind::Client;
    type Image = pb::Client;

    fn meta(&self) -> RecordMeta {
        self.meta
    }

    fn changed(&mut self, kind: ChangeKind, meta: RecordMeta) -> Change {
        self.meta = meta;
        let change = Change::new(new_uuid(), RecordRef::client(self.id), meta.version, kind);
        change.with(self.person_id.map(RecordRef::person))
    }

    fn refusal(&self, timeline: TimelineKey) -> Option<&'static str> {
        match timeline {
            TimelineKey::RegisteredName if self.client_type == ClientType::Individual => {
                Some("the name of an individual is that of its person; name the person as record")
            }
            TimelineKey::PersonName => {
                Some("a client has no person's name; name the person as record")
            }
            _ => None,
        }
    }

    fn image(&self, entries: &[Entry], today: NaiveDate) -> pb::Client {
        image::client(self, entries, today)
    }

    fn etag(image: &pb::Client) -> &str {
        &image.etag
    }

    async fn lock(work: &UnitOfWork, id: Uuid) -> Result<Option<Self>, RecordError> {
        Ok(clients::lock(work.db(), &[id]).await?.pop())
    }

    async fn update(self, work: &UnitOfWork, image: &pb::Client) -> Result<(), RecordError> {
        clients::update(work.db(), self, image).await
    }

    async fn reindex(&self, work: &UnitOfWork, entries: &[Entry]) -> Result<(), RecordError> {
        let person = match self.person_id {
            Some(id) => entries_of(work, id).await?,
            None => Vec::new(),
        };
        let document = search_document::client(self, entries, &person, work.at.today);
        search::replace(work.db(), &document).await
    }
}

impl Subject for Person {
    const KIND: RecordKind = RecordKind::Person;
    type Image = pb::Person;

    fn meta(&self) -> RecordMeta {
        self.meta
    }

    fn changed(&mut self, kind: ChangeKind, meta: RecordMeta) -> Change {
        self.meta = meta;
        Change::new(new_uuid(), RecordRef::person(self.id), meta.version, kind)
    }

    fn refusal(&self, timeline: TimelineKey) -> Option<&'static str> {
        match timeline {
            TimelineKey::RegisteredName | TimelineKey::TradingName => {
                Some("a person has no registered or trading name; use PERSON_NAME")
            }
            _ => None,
        }
    }

    fn image(&self, entries: &[Entry], today: NaiveDate) -> pb::Person {
        image::person(self, entries, today)
    }

    fn etag(image: &pb::Person) -> &str {
        &image.etag
    }

    async fn lock(work: &UnitOfWork, id: Uuid) -> Result<Option<Self>, RecordError> {
        Ok(persons::lock(work.db(), &[id]).await?.pop())
    }

    async fn update(self, work: &UnitOfWork, image: &pb::Person) -> Result<(), RecordError> {
        persons::update(work.db(), self, image).await
    }

    /// Rebuilds the search documents of its individual clients too.
    async fn reindex(&self, work: &UnitOfWork, entries: &[Entry]) -> Result<(), RecordError> {
        let (db, today) = (work.db(), work.at.today);
        search::replace(db, &search_document::person(self.id, entries, today)).await?;
        for id in clients::ids_by_person(db, self.id).await? {
            let Some(client) = clients::by_id(db, id).await? else { continue };
            let own = entries_of(work, id).await?;
            let document = search_document::client(&client, &own, entries, today);
            search::replace(db, &document).await?;
        }
        Ok(())
    }
}

/// The entries of a client or a person.
pub(super) async fn entries_of(work: &UnitOfWork, owner: Uuid) -> Result<Vec<Entry>, RecordError> {
    let mut entries = entries::of_owners(work.db(), &[owner]).await?;
    Ok(entries.remove(&owner).unwrap_or_default())
}
