//! What the outputs share: the names of enum values, records and persons, and times, as text.

use chrono::{DateTime, SecondsFormat, Utc};
use concord_proto::pb::{
    imports::{ImportState, RecordStatus},
    records::{
        AddressType, ChangeKind, Client, ClientType, Delivery, EntryStatus, FeedPlace,
        Jurisdiction, Person, PersonName, RecordKind, Role, SubscriptionState, Timeline,
    },
};
use prost_types::Timestamp;

/// An enum of the protocol. Its default is the value `…_UNSPECIFIED`.
pub(crate) trait ProtocolName: TryFrom<i32> + Default {
    /// The name of the value in the protocol, `CHANGE_KIND_CREATED`.
    fn protocol_name(&self) -> &'static str;
}

macro_rules! protocol_name {
    ($($type:path),+ $(,)?) => {$(
        impl ProtocolName for $type {
            fn protocol_name(&self) -> &'static str {
                self.as_str_name()
            }
        }
    )+};
}

protocol_name!(
    AddressType,
    ChangeKind,
    ClientType,
    Delivery,
    EntryStatus,
    FeedPlace,
    ImportState,
    Jurisdiction,
    RecordKind,
    RecordStatus,
    Role,
    SubscriptionState,
    Timeline,
);

/// The short name of a value, `created`; the number of a value that is not defined in this
/// version.
pub(crate) fn name<T: ProtocolName>(value: i32) -> String {
    T::try_from(value).map_or_else(
        |_| value.to_string(),
        |known| short_name(known.protocol_name(), T::default().protocol_name()),
    )
}

/// The name of an enum value in lower case, and without the prefix of its enum, which is known
/// from the name of the value `…_UNSPECIFIED`.
pub(crate) fn short_name(name: &str, unspecified: &str) -> String {
    let prefix = unspecified.trim_end_matches("UNSPECIFIED");
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// The name of an enum value with spaces, `private limited company`.
pub(crate) fn words<T: ProtocolName>(value: i32) -> String {
    name::<T>(value).replace('_', " ")
}

/// The display name of a record. For an individual client it is the name of the person.
pub(crate) fn record_name(client: Option<&Client>, person: Option<&Person>) -> Option<String> {
    let registered = client.map(|client| client.registered_name.clone());
    let registered = registered.filter(|name| !name.is_empty());
    registered.or_else(|| person?.name.as_ref().map(full_name))
}

/// The parts of a name in their order.
pub(crate) fn full_name(name: &PersonName) -> String {
    let PersonName { title, forename, middle_names, surname } = name;
    let parts = [title, forename, middle_names, surname].map(String::as_str);
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Formats a timestamp in RFC 3339, as `2026-03-01T09:30:00.123456Z`.
pub(crate) fn time(time: &Timestamp) -> String {
    let nanos = u32::try_from(time.nanos).unwrap_or_default();
    DateTime::<Utc>::from_timestamp(time.seconds, nanos)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
        .unwrap_or_default()
}

/// Formats a timestamp to the second, `2026-03-01 09:30:00Z`.
pub(crate) fn seconds(instant: &Timestamp) -> String {
    let text = time(instant);
    let whole = text.split('.').next().unwrap_or_default();
    format!("{}Z", whole.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_value_is_shown_without_prefix_or_as_number() {
        assert_eq!(name::<ChangeKind>(ChangeKind::EntryAdded.into()), "entry_added");
        assert_eq!(name::<ChangeKind>(0), "unspecified");
        assert_eq!(name::<ChangeKind>(999), "999");
    }

    #[test]
    fn individual_client_has_the_name_of_its_person() {
        let name = PersonName {
            forename: "Grace".to_owned(),
            surname: "Okafor".to_owned(),
            ..PersonName::default()
        };
        let person = Person { name: Some(name), ..Person::default() };
        let called = record_name(Some(&Client::default()), Some(&person));
        assert_eq!(called.as_deref(), Some("Grace Okafor"));
    }
}
