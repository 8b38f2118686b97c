//! Checks of texts that users see.

use concord_proto::pb;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The prefixes of ids.
const IDS: [&str; 6] = ["cli_", "per_", "con_", "ent_", "chg_", "imp_"];

/// Asserts that a text is suitable for users: it names no RPC, and an id only in
/// parentheses after the name of its record.
pub fn assert_user_facing(text: &str) {
    let files = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap().file;
    let services = files.iter().flat_map(|file| &file.service);
    for method in services.flat_map(|service| &service.method) {
        let name = method.name();
        // RPC names of one word, such as Subscribe, may be words of a sentence.
        let is_word = name.chars().filter(char::is_ascii_uppercase).count() < 2;
        assert!(is_word || !text.contains(name), "{text}: it names {name}");
    }
    for prefix in IDS {
        for (at, _) in text.match_indices(prefix) {
            assert!(text[..at].ends_with('('), "{text}: bare id");
        }
    }
}
