//! The API contract: a change of the published descriptors fails a test.

use concord_proto::pb;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap()
}

/// Compares every field with its number and type, every enum value and every RPC with the
/// snapshot. A line that is removed or changed breaks existing generated clients.
#[test]
fn descriptors_match_published_contract() {
    let mut lines = Vec::new();
    for file in descriptors().file.iter().filter(|file| file.package().starts_with("concord.")) {
        for message in &file.message_type {
            fields(file.package(), message, &mut lines);
        }
        for kind in &file.enum_type {
            for value in &kind.value {
                let (name, number) = (value.name(), value.number());
                lines.push(format!("{}.{}.{name} = {number}", file.package(), kind.name()));
            }
        }
        for service in &file.service {
            for rpc in &service.method {
                let stream = |streaming| if streaming { "stream " } else { "" };
                lines.push(format!(
                    "{}.{}/{}({}{}) -> {}{}",
                    file.package(),
                    service.name(),
                    rpc.name(),
                    stream(rpc.client_streaming()),
                    rpc.input_type(),
                    stream(rpc.server_streaming()),
                    rpc.output_type(),
                ));
            }
        }
    }
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

fn fields(scope: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let scope = format!("{scope}.{}", message.name());
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().to_owned(),
            plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        };
        let label = field.label().as_str_name().trim_start_matches("LABEL_").to_lowercase();
        lines.push(format!("{scope}.{} = {} {label} {kind}", field.name(), field.number()));
    }
    for nested in &message.nested_type {
        fields(&scope, nested, lines);
    }
}

#[test]
fn reflection_hides_internal_package() {
    let public = FileDescriptorSet::decode(pb::PUBLIC_DESCRIPTOR_SET).unwrap();
    assert!(public.file.iter().all(|file| !file.package().contains("internal")));
    assert!(public.file.iter().any(|file| file.package() == "concord.imports.v1"));
}
