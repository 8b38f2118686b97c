//! Mutations of valid inputs.

use proptest::{prelude::*, sample::Index};

use super::message;

/// Maximum number of mutations of one input.
const MAX_MUTATIONS: usize = 4;

/// Maximum size of an input after a repetition, in bytes.
const MAX_BYTES: usize = 128 * 1_024;

/// Byte sequences that often break parsers.
const HOSTILE: [&[u8]; 28] = [
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    "\u{feff}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{fffe}".as_bytes(),
    "e\u{301}\u{301}\u{301}".as_bytes(),
    "\u{1f468}\u{200d}\u{1f469}".as_bytes(),
    "İıſß".as_bytes(),
    b"\r\n",
    b"\r",
    b"\"",
    b"'",
    b",",
    b";",
    b"|",
    b":",
    b"/",
    b".",
    b"%00",
    b"\\u0000",
    b"-1",
    b"9223372036854775808",
    b"9999-12-31",
    b"0000-00-00",
    // The longest varint, and a length beyond the end of any input.
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x07",
];

#[derive(Clone, Debug)]
enum Mutation {
    /// Replaces one byte.
    Change(Index, u8),
    /// Removes a range.
    Cut(Index, Index),
    /// Truncates the input.
    Truncate(Index),
    /// Repeats a range, so many times.
    Repeat(Index, Index, usize),
    /// Replaces the end with the end of another seed.
    Splice(Index, Index, Index),
    /// Inserts bytes.
    Insert(Index, Vec<u8>),
    /// Replaces one value of a protobuf message and corrects all lengths.
    Value(Index, Vec<u8>),
    /// Appends a field to a protobuf message.
    Field(u64, Vec<u8>),
}

/// Seeds with a few mutations each.
pub(super) fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let mutations = prop::collection::vec(mutation(), 1..=MAX_MUTATIONS);
    (any::<Index>(), mutations).prop_map(move |(seed, mutations)| {
        let seed = seeds.get(seed.index(seeds.len())).cloned().unwrap_or_default();
        mutations.iter().fold(seed, |input, mutation| mutation.apply(input, &seeds))
    })
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, to)| Mutation::Change(at, to)),
        2 => (at(), at()).prop_map(|(from, to)| Mutation::Cut(from, to)),
        1 => at().prop_map(Mutation::Truncate),
        1 => (at(), at(), 1_usize..40).prop_map(|(from, to, n)| Mutation::Repeat(from, to, n)),
        1 => (at(), at(), at()).prop_map(|(other, own, its)| Mutation::Splice(other, own, its)),
        3 => (at(), bytes()).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        5 => (at(), bytes()).prop_map(|(at, bytes)| Mutation::Value(at, bytes)),
        1 => (1..=message::FIELDS, bytes()).prop_map(|(field, bytes)| Mutation::Field(field, bytes)),
    ]
}

/// A hostile sequence, once or repeated; no bytes; or a few random bytes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let often = prop_oneof![Just(1_usize), Just(1), Just(300), Just(5_000)];
    let hostile = (prop::sample::select(&HOSTILE[..]), often);
    prop_oneof![
        3 => hostile.prop_map(|(bytes, n)| bytes.repeat(n)),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

impl Mutation {
    fn apply(&self, mut input: Vec<u8>, seeds: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Change(at, to) => {
                let at = offset(*at, &input);
                if let Some(byte) = input.get_mut(at) {
                    *byte = *to;
                }
            }
            Self::Cut(from, to) => {
                input.drain(ordered(offset(*from, &input), offset(*to, &input)));
            }
            Self::Truncate(at) => input.truncate(offset(*at, &input)),
            Self::Repeat(from, to, times) => {
                let part = ordered(offset(*from, &input), offset(*to, &input));
                let end = part.end;
                let repeated = input.get(part).unwrap_or_default().repeat(*times);
                if input.len() + repeated.len() <= MAX_BYTES {
                    input.splice(end..end, repeated);
                }
            }
            Self::Splice(other, own, its) => {
                let other = seeds.get(other.index(seeds.len())).map_or(&[][..], Vec::as_slice);
                input.truncate(offset(*own, &input));
                input.extend(other.get(offset(*its, other)..).unwrap_or_default());
            }
            Self::Insert(at, bytes) => {
                let at = offset(*at, &input);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Value(at, bytes) => {
                let values = message::count(&input);
                if values > 0 {
                    input = message::replaced(&input, at.index(values), bytes);
                }
            }
            Self::Field(field, bytes) => input.extend(message::text_field(*field, bytes)),
        }
        input
    }
}

/// An offset in the input, which may be its end.
fn offset(at: Index, input: &[u8]) -> usize {
    at.index(input.len() + 1)
}

fn ordered(one: usize, other: usize) -> std::ops::Range<usize> {
    one.min(other)..one.max(other)
}
