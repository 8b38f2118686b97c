//! What is done to an input that was good.

use proptest::{prelude::*, sample::Index};

use super::message;

/// Harms that one input suffers at most.
const MAX_HARMS: usize = 4;

/// What doubling may make an input.
const MAX_BYTES: usize = 128 * 1_024;

/// What readers have stumbled over before.
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
    // The longest varint, and a length that is a lie.
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x07",
];

#[derive(Clone, Debug)]
enum Harm {
    /// One byte is another.
    Change(Index, u8),
    /// A part is gone.
    Cut(Index, Index),
    /// It ends too early.
    End(Index),
    /// A part comes again, so many times.
    Double(Index, Index, usize),
    /// It goes on as another seed does.
    Splice(Index, Index, Index),
    /// Bytes stand where none should.
    Insert(Index, Vec<u8>),
    /// Of a protobuf message: one value is another, and all lengths are right.
    Value(Index, Vec<u8>),
    /// Of a protobuf message: a field is there that was not.
    Field(u64, Vec<u8>),
}

/// Seeds, each harmed a few times.
pub(super) fn harmed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let harms = prop::collection::vec(harm(), 1..=MAX_HARMS);
    (any::<Index>(), harms).prop_map(move |(seed, harms)| {
        let seed = seeds.get(seed.index(seeds.len())).cloned().unwrap_or_default();
        harms.iter().fold(seed, |input, harm| harm.done_to(input, &seeds))
    })
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(place, to)| Harm::Change(place, to)),
        2 => (at(), at()).prop_map(|(from, to)| Harm::Cut(from, to)),
        1 => at().prop_map(Harm::End),
        1 => (at(), at(), 1_usize..40).prop_map(|(from, to, n)| Harm::Double(from, to, n)),
        1 => (at(), at(), at()).prop_map(|(other, own, its)| Harm::Splice(other, own, its)),
        3 => (at(), bytes()).prop_map(|(place, bytes)| Harm::Insert(place, bytes)),
        5 => (at(), bytes()).prop_map(|(place, bytes)| Harm::Value(place, bytes)),
        1 => (1..=message::FIELDS, bytes()).prop_map(|(field, bytes)| Harm::Field(field, bytes)),
    ]
}

/// Something hostile, a lot of it, nothing, or a few raw bytes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let often = prop_oneof![Just(1_usize), Just(1), Just(300), Just(5_000)];
    let hostile = (prop::sample::select(&HOSTILE[..]), often);
    prop_oneof![
        3 => hostile.prop_map(|(bytes, n)| bytes.repeat(n)),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

impl Harm {
    fn done_to(&self, mut input: Vec<u8>, seeds: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Change(at, to) => {
                let at = place(*at, &input);
                if let Some(byte) = input.get_mut(at) {
                    *byte = *to;
                }
            }
            Self::Cut(from, to) => {
                input.drain(ordered(place(*from, &input), place(*to, &input)));
            }
            Self::End(at) => input.truncate(place(*at, &input)),
            Self::Double(from, to, times) => {
                let part = ordered(place(*from, &input), place(*to, &input));
                let end = part.end;
                let doubled = input.get(part).unwrap_or_default().repeat(*times);
                if input.len() + doubled.len() <= MAX_BYTES {
                    input.splice(end..end, doubled);
                }
            }
            Self::Splice(other, own, its) => {
                let other = seeds.get(other.index(seeds.len())).map_or(&[][..], Vec::as_slice);
                input.truncate(place(*own, &input));
                input.extend(other.get(place(*its, other)..).unwrap_or_default());
            }
            Self::Insert(at, bytes) => {
                let at = place(*at, &input);
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

/// A place in the input, its end among them.
fn place(at: Index, input: &[u8]) -> usize {
    at.index(input.len() + 1)
}

fn ordered(one: usize, other: usize) -> std::ops::Range<usize> {
    one.min(other)..one.max(other)
}
