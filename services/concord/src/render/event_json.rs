//! Change events and snapshot records as JSON objects, with the name and the client reference of
//! the record.

use bytes::Bytes;
use concord_proto::{
    pb::records::{Client, Person},
    wire::{Event, SnapshotRecord},
};
use prost::Message as _;
use serde_json::{Map, Value};

use super::{json::message_json, names::record_name};

/// A change event.
pub(crate) fn event(event: &Event) -> anyhow::Result<Value> {
    let object = message_json("concord.records.v1.Event", event)?;
    named(object, event.client.as_ref(), event.person.as_ref())
}

/// A snapshot record.
pub(crate) fn record(record: &SnapshotRecord) -> anyhow::Result<Value> {
    let object = message_json("concord.records.v1.SnapshotRecord", record)?;
    named(object, record.client.as_ref(), record.person.as_ref())
}

/// Adds the name and the reference of the encoded client or person.
fn named(
    mut object: Map<String, Value>,
    client: Option<&Bytes>,
    person: Option<&Bytes>,
) -> anyhow::Result<Value> {
    let client = client.cloned().map(Client::decode).transpose()?;
    let person = person.cloned().map(Person::decode).transpose()?;
    let name = record_name(client.as_ref(), person.as_ref());
    let reference = client.map(|client| client.client_reference);
    object.insert("name".to_owned(), name.into());
    object.insert("client_reference".to_owned(), reference.into());
    Ok(object.into())
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::records::{ChangeKind, Contact, ContactRole, RecordKind, Role};
    use prost_types::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn event_json_decodes_the_record() {
        let client = Client {
            client_reference: "ACME01".to_owned(),
            registered_name: "Acme Limited".to_owned(),
            ..Client::default()
        };
        let change = Event {
            position: 7,
            previous_position: 4,
            record_kind: RecordKind::Client.into(),
            kind: ChangeKind::EntryAdded.into(),
            client: Some(client.encode_to_vec().into()),
            change_time: Some(Timestamp { seconds: 0, nanos: 5_000 }),
            ..Event::default()
        };
        let read = event(&change).unwrap();
        assert_eq!(read["name"], "Acme Limited");
        assert_eq!(read["client"]["client_reference"], "ACME01");
        assert_eq!((&read["person"], &read["contacts"]), (&Value::Null, &json!([])));
        assert_eq!(
            (&read["record_kind"], &read["kind"]),
            (&json!("client"), &json!("entry_added"))
        );
        assert_eq!(read["change_time"], "1970-01-01T00:00:00.000005Z");
    }

    #[test]
    fn snapshot_record_json_decodes_the_record() {
        let role = ContactRole { role: Role::Director.into(), ..ContactRole::default() };
        let contact = Contact { roles: vec![role], ..Contact::default() };
        let contact = Some(contact.encode_to_vec().into());
        let read = record(&SnapshotRecord { contact, ..SnapshotRecord::default() }).unwrap();
        assert_eq!(read["contact"]["roles"][0]["role"], "director");
        assert_eq!((&read["name"], &read["client_reference"]), (&Value::Null, &Value::Null));
    }
}
