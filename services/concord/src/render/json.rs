//! Messages of the protocol as JSON objects. They are written by their descriptors, so that a new
//! field appears without an edit here.

use std::sync::LazyLock;

use anyhow::Context as _;
use concord_proto::pb::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, OneofDescriptor, ReflectMessage as _, Value as FieldValue,
};
use prost_types::Timestamp;
use serde_json::{Map, Value};

use super::names::{short_name, time};

const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// The descriptors of all messages. They are constant and valid; a default has no messages.
static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

/// A message as a JSON object, by its full name. The keys are the field names of the protocol. An
/// enum value is its short name, a timestamp is in RFC 3339, and a field that is not set is null.
/// A one-of has one key, its own name.
pub(crate) fn message_json(
    full_name: &str,
    message: &impl Message,
) -> anyhow::Result<Map<String, Value>> {
    let descriptor = DESCRIPTORS
        .get_message_by_name(full_name)
        .with_context(|| format!("the protocol has no message {full_name}"))?;
    let bytes = message.encode_to_vec();
    Ok(object(&DynamicMessage::decode(descriptor, bytes.as_slice())?))
}

/// Messages of one type as JSON objects.
pub(crate) fn list_json(
    full_name: &str,
    messages: &[impl Message],
) -> anyhow::Result<Vec<Map<String, Value>>> {
    messages.iter().map(|message| message_json(full_name, message)).collect()
}

fn object(message: &DynamicMessage) -> Map<String, Value> {
    let mut object = Map::new();
    let descriptor = message.descriptor();
    for field in descriptor.fields() {
        let json = if field.supports_presence() && !message.has_field(&field) {
            Value::Null
        } else {
            field_value(&message.get_field(&field), &field.kind())
        };
        let one_of = field.containing_oneof().filter(|one_of| !one_of.is_synthetic());
        let key = one_of.as_ref().map_or(field.name(), OneofDescriptor::name);
        let entry = object.entry(key).or_insert(Value::Null);
        // At most one field of a one-of is set.
        if !json.is_null() {
            *entry = json;
        }
    }
    object
}

fn field_value(value: &FieldValue, kind: &Kind) -> Value {
    match value {
        FieldValue::Bool(flag) => (*flag).into(),
        FieldValue::I32(number) => (*number).into(),
        FieldValue::I64(number) => (*number).into(),
        FieldValue::U32(number) => (*number).into(),
        FieldValue::U64(number) => (*number).into(),
        FieldValue::F32(number) => (*number).into(),
        FieldValue::F64(number) => (*number).into(),
        FieldValue::String(text) => text.as_str().into(),
        FieldValue::EnumNumber(number) => enum_value(kind, *number).into(),
        FieldValue::Message(message) if message.descriptor().full_name() == TIMESTAMP => {
            message.transcode_to::<Timestamp>().ok().as_ref().map(time).into()
        }
        FieldValue::Message(message) => object(message).into(),
        FieldValue::List(values) => values.iter().map(|value| field_value(value, kind)).collect(),
        // No shown message has bytes or maps.
        FieldValue::Bytes(_) | FieldValue::Map(_) => Value::Null,
    }
}

/// The short name of an enum value; the number of a value that is not defined in this version.
fn enum_value(kind: &Kind, number: i32) -> String {
    let known = kind.as_enum().and_then(|of| Some((of.get_value(number)?, of.default_value())));
    known.map_or_else(
        || number.to_string(),
        |(known, unspecified)| short_name(known.name(), unspecified.name()),
    )
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::{
        imports::SealImportRequest,
        records::{Client, Entry, PersonName, RecordState, Subscription, entry},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_the_names_of_the_protocol() {
        let subscription = Subscription {
            name: "ledger".to_owned(),
            echo_mode: 2,
            record_kinds: vec![1, 99],
            lag_changes: i64::MAX,
            create_time: Some(Timestamp { seconds: 61, nanos: 5_000 }),
            ..Subscription::default()
        };
        let json = message_json("concord.records.v1.Subscription", &subscription).unwrap();
        assert_eq!(json["name"], "ledger");
        assert_eq!((&json["state"], &json["echo_mode"]), (&json!("unspecified"), &json!("mark")));
        assert_eq!(json["record_kinds"], json!(["client", "99"]));
        assert_eq!(json["lag_changes"], i64::MAX);
        assert_eq!(json["create_time"], "1970-01-01T00:01:01.000005Z");
        assert_eq!((&json["product"], &json["linked_only"]), (&json!(""), &json!(false)));
        assert_eq!((&json["practices"], &json["expire_time"]), (&json!([]), &Value::Null));
    }

    #[test]
    fn one_of_has_one_key() {
        let name = PersonName { surname: "Okafor".to_owned(), ..PersonName::default() };
        let values = [
            Some(entry::Value::Name("Acme".to_owned())),
            Some(entry::Value::PersonName(name)),
            None,
        ];
        let entries = values.map(|value| Entry { value, ..Entry::default() }).to_vec();
        let state = RecordState::Orphaned.into();
        let client = Client { entries, state, ..Client::default() };
        let json = message_json("concord.records.v1.Client", &client).unwrap();
        assert_eq!(json["state"], "orphaned");
        let entries = &json["entries"];
        assert_eq!(entries[0]["value"], "Acme");
        assert_eq!(entries[1]["value"]["surname"], "Okafor");
        assert_eq!(entries[2].get("value"), Some(&Value::Null));
        assert_eq!(entries[0].get("person_name"), None);
    }

    #[test]
    fn unset_optional_field_is_null() {
        let counts = SealImportRequest { client_count: Some(0), ..SealImportRequest::default() };
        let json = message_json("concord.imports.v1.SealImportRequest", &counts).unwrap();
        assert_eq!((&json["client_count"], &json["contact_count"]), (&json!(0), &Value::Null));
    }

    #[test]
    fn unknown_message_is_an_error() {
        assert!(message_json("concord.records.v1.Nothing", &Client::default()).is_err());
    }
}
