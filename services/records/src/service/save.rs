//! Writing an opened record: its row, its image and its search document.

use concord_proto::pb::records as pb;
use prost::Message as _;

use super::{
    open::{OpenClient, OpenPerson},
    search_document,
    unit_of_work::UnitOfWork,
};
use crate::{
    error::RecordError,
    store::{clients, entries, persons, search},
};

/// Whether the search document of a record has to be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Changed,
    Same,
}

/// Writes a client. The caller has updated its metadata.
pub(super) async fn client(
    work: &UnitOfWork,
    open: OpenClient,
    names: Names,
) -> Result<pb::Client, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    if names == Names::Changed {
        reindex_client(work, &open).await?;
    }
    let image = open.image(work);
    clients::update(db, practice, open.client, image.encode_to_vec()).await?;
    Ok(image)
}

/// Writes a person. The caller has updated its metadata. A change of names rebuilds the
/// search documents of its individual clients too.
pub(super) async fn person(
    work: &UnitOfWork,
    open: OpenPerson,
    names: Names,
) -> Result<pb::Person, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    if names == Names::Changed {
        let document = search_document::person(open.person.id, &open.entries, work.at.today);
        search::replace(db, practice, &document).await?;
        for id in clients::ids_by_person(db, practice, open.person.id).await? {
            reindex_individual(work, id, &open).await?;
        }
    }
    let image = open.image(work);
    persons::update(db, practice, open.person, &image).await?;
    Ok(image)
}

async fn reindex_client(work: &UnitOfWork, open: &OpenClient) -> Result<(), RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let person = match open.client.person_id {
        Some(id) => entries::of_owners(db, practice, &[id]).await?.remove(&id).unwrap_or_default(),
        None => Vec::new(),
    };
    let document = search_document::client(&open.client, &open.entries, &person, work.at.today);
    search::replace(db, practice, &document).await
}

async fn reindex_individual(
    work: &UnitOfWork,
    client: uuid::Uuid,
    person: &OpenPerson,
) -> Result<(), RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let Some(client) = clients::by_id(db, practice, client).await? else { return Ok(()) };
    let own = entries::of_owners(db, practice, &[client.id]).await?;
    let own = own.get(&client.id).map_or(&[] as &[_], Vec::as_slice);
    let document = search_document::client(&client, own, &person.entries, work.at.today);
    search::replace(db, practice, &document).await
}
