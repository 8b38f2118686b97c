//! The paths of a mask follow the fields of the messages, which the compiler does not check.

use concord_proto::pb::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{FieldMask, FileDescriptorSet};

use super::*;

/// The names of the fields of a message.
pub(super) fn fields_of(message: &str) -> Vec<String> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let files = files.into_iter().filter(|file| file.package() == "concord.records.v1");
    let mut messages = files.flat_map(|file| file.message_type);
    let message = messages.find(|one| one.name() == message).unwrap();
    message.field.iter().map(|field| field.name().to_owned()).collect()
}

/// The number of edits of a client for one path.
fn client_edits_of(path: &str) -> usize {
    let fields = ClientFields { client_reference: "R1".to_owned(), ..ClientFields::default() };
    let request = UpdateClientRequest {
        fields: Some(fields),
        update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
        ..UpdateClientRequest::default()
    };
    client(request).unwrap().edits.len()
}

#[test]
fn every_field_of_a_client_is_a_path_of_the_mask() {
    let identifiers = fields_of("ClientIdentifiers");
    for field in &identifiers {
        assert_eq!(client_edits_of(&format!("identifiers.{field}")), 1, "{field}");
    }
    assert_eq!(client_edits_of("identifiers"), identifiers.len());
    for field in fields_of("ClientFields") {
        assert!(client_edits_of(&field) > 0, "{field}");
    }
}

#[test]
fn every_field_of_a_person_is_a_path_of_the_mask() {
    for field in fields_of("PersonFields") {
        let request = UpdatePersonRequest {
            fields: Some(PersonFields::default()),
            update_mask: Some(FieldMask { paths: vec![field.clone()] }),
            ..UpdatePersonRequest::default()
        };
        assert_eq!(person(request).unwrap().edits.len(), 1, "{field}");
    }
}
