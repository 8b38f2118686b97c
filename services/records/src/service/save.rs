//! Writing a record that was opened: its row, its image, what it is found by.

use prost::Message as _;
use shared::pb::records as pb;

use super::{
    findable,
    open::{OpenClient, OpenPerson},
    script::Script,
};
use crate::{
    error::RecordError,
    store::{clients, entries, persons, search},
};

/// Whether what a record is found by has changed with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Changed,
    Same,
}

/// Writes a client, whose life the caller has moved on.
pub(super) async fn client(
    script: &Script,
    open: OpenClient,
    names: Names,
) -> Result<pb::Client, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    if names == Names::Changed {
        find_client_anew(script, &open).await?;
    }
    let image = open.image(script);
    clients::update(db, practice, open.client, image.encode_to_vec()).await?;
    Ok(image)
}

/// Writes a person, whose life the caller has moved on. With its names change
/// those of the individual clients that it is.
pub(super) async fn person(
    script: &Script,
    open: OpenPerson,
    names: Names,
) -> Result<pb::Person, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    if names == Names::Changed {
        let findable = findable::person(open.person.id, &open.entries, script.at.today);
        search::replace(db, practice, &findable).await?;
        for id in clients::ids_by_person(db, practice, open.person.id).await? {
            find_individual_anew(script, id, &open).await?;
        }
    }
    let image = open.image(script);
    persons::update(db, practice, open.person, &image).await?;
    Ok(image)
}

async fn find_client_anew(script: &Script, open: &OpenClient) -> Result<(), RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let person = match open.client.person_id {
        Some(id) => entries::of_owners(db, practice, &[id]).await?.remove(&id).unwrap_or_default(),
        None => Vec::new(),
    };
    let findable = findable::client(&open.client, &open.entries, &person, script.at.today);
    search::replace(db, practice, &findable).await
}

async fn find_individual_anew(
    script: &Script,
    client: uuid::Uuid,
    person: &OpenPerson,
) -> Result<(), RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let Some(client) = clients::by_id(db, practice, client).await? else { return Ok(()) };
    let own = entries::of_owners(db, practice, &[client.id]).await?;
    let own = own.get(&client.id).map_or(&[] as &[_], Vec::as_slice);
    let findable = findable::client(&client, own, &person.entries, script.at.today);
    search::replace(db, practice, &findable).await
}
