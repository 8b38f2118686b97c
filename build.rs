//! Compiles `proto/` without `protoc`: protox parses, tonic-prost-build generates code. Also
//! generates an enum of all RPCs, so that the build fails if an RPC is missing in the access
//! table in `shared/core/src/access.rs`.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use protox::prost::Message as _;
use protox::prost_reflect::prost_types::FileDescriptorSet;

const PROTO_ROOT: &str = "proto";
const PROTOS: &[&str] = &[
    "concord/records/v1/changes.proto",
    "concord/records/v1/clients.proto",
    "concord/records/v1/common.proto",
    "concord/records/v1/connections.proto",
    "concord/records/v1/contacts.proto",
    "concord/records/v1/errors.proto",
    "concord/records/v1/history.proto",
    "concord/records/v1/people.proto",
    "concord/records/v1/support.proto",
    "concord/imports/v1/imports.proto",
    "concord/imports/v1/records.proto",
    "concord/internal/v1/ingest.proto",
];

/// Messages that the services do not decode in full. The structs are hand-written in
/// `proto/src/wire.rs`.
const HAND_WRITTEN: &[(&str, &str)] = &[
    (".concord.imports.v1.BatchFrame", "crate::wire::BatchFrame"),
    (".concord.internal.v1.ApplyRecord", "crate::wire::ApplyRecord"),
    (".concord.records.v1.Event", "crate::wire::Event"),
    (".concord.records.v1.SnapshotRecord", "crate::wire::SnapshotRecord"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO_ROOT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, [PROTO_ROOT])?;
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    fs::write(out.join("public_descriptors.bin"), public(&descriptors).encode_to_vec())?;
    fs::write(out.join("rpcs.rs"), rpcs(&descriptors)?)?;
    let mut config = tonic_prost_build::configure().bytes(".").include_file("pb.rs");
    for (message, path) in HAND_WRITTEN {
        config = config.extern_path(*message, *path);
    }
    config.compile_fds(descriptors)?;
    Ok(())
}

/// The descriptors without the internal package, for the reflection service.
fn public(descriptors: &FileDescriptorSet) -> FileDescriptorSet {
    let file = descriptors.file.iter().filter(|file| !file.package().contains("internal"));
    FileDescriptorSet { file: file.cloned().collect() }
}

/// The source of `enum Rpc`: a variant for every RPC, its path and name, and the list of
/// server-streaming RPCs.
fn rpcs(descriptors: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let (mut variants, mut paths) = (String::new(), String::new());
    let (mut names, mut streams) = (String::new(), String::new());
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                let name =
                    format!("{}{}", service.name().trim_end_matches("Service"), method.name());
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                writeln!(variants, "    /// `{path}`\n    {name},")?;
                writeln!(paths, "    (Rpc::{name}, \"{path}\"),")?;
                let short = format!("{}/{}", service.name(), method.name());
                writeln!(names, "            Self::{name} => \"{short}\",")?;
                if method.server_streaming() {
                    writeln!(streams, "    Rpc::{name},")?;
                }
            }
        }
    }
    Ok(format!(
        "/// Every RPC of Concord, generated from `proto/`.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\npub enum Rpc {{\n{variants}}}\n\
         impl Rpc {{\n    /// Service and method, such as `ClientService/GetClient`.\n    \
         pub const fn name(self) -> &'static str {{\n        match self {{\n{names}        }}\n    }}\n}}\n\
         /// Every RPC with its path.\npub const ALL: &[(Rpc, &str)] = &[\n{paths}];\n\
         /// The server-streaming RPCs.\npub const STREAMS: &[Rpc] = &[\n{streams}];\n"
    ))
}
