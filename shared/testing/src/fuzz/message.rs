//! Mutation of the values in an encoded protobuf message, without its schema.
//!
//! A message with random changes rarely passes the decoder. This module replaces one value
//! and corrects the enclosing lengths, so that the mutation reaches the code that reads the
//! value.

use prost::encoding::{decode_varint, encode_varint};

/// The highest field number that is tried.
pub(super) const FIELDS: u64 = 20;

/// Values that databases reject, as text and as numbers.
const INVALID: [&[u8]; 3] =
    [b"A\0B", &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0xff; 8]];

/// The variants of the message with one invalid value: in a present value, or in an added
/// field.
pub(super) fn with_invalid_values(message: &[u8]) -> Vec<Vec<u8>> {
    let values =
        (0..count(message)).flat_map(|at| INVALID.map(|bytes| replaced(message, at, bytes)));
    let with_field = |field: Vec<u8>| [message, &field].concat();
    let fields = (1..=FIELDS).flat_map(|number| {
        let numbers = [i64::MAX as u64, u64::MAX].map(|value| number_field(number, value));
        [text_field(number, b"A\0B")].into_iter().chain(numbers).map(with_field)
    });
    values.chain(fields).collect()
}

/// An encoded field of text or bytes.
pub(super) fn text_field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    write_bytes(number << 3 | 2, bytes, &mut field);
    field
}

fn number_field(number: u64, value: u64) -> Vec<u8> {
    let mut field = Vec::new();
    write_number(number << 3, value, &mut field);
    field
}

/// One encoded field.
enum Field<'m> {
    /// A number.
    Varint(u64, u64),
    /// Text, bytes or a message.
    Bytes(u64, &'m [u8]),
    /// A number of four or eight bytes, with its key.
    Fixed(&'m [u8]),
}

/// Number of values, including those of nested messages.
pub(super) fn count(message: &[u8]) -> usize {
    fields(message).unwrap_or_default().iter().map(Field::count).sum()
}

/// The message with its value number `at` replaced by `bytes`.
pub(super) fn replaced(message: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + bytes.len());
    let mut before = 0;
    for field in fields(message).unwrap_or_default() {
        let values = field.count();
        if (before..before + values).contains(&at) {
            field.write_with(at - before, bytes, &mut out);
        } else {
            field.write(&mut out);
        }
        before += values;
    }
    out
}

impl Field<'_> {
    /// Number of values: a message is one value, in addition to the values in it.
    fn count(&self) -> usize {
        match self {
            Self::Bytes(_, bytes) => 1 + count(bytes),
            Self::Varint(..) => 1,
            Self::Fixed(_) => 0,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(key, value) => write_number(*key, *value, out),
            Self::Bytes(key, bytes) => write_bytes(*key, bytes, out),
            Self::Fixed(whole) => out.extend(*whole),
        }
    }

    /// Writes the field with its value `at` replaced by `bytes`; 0 is the field itself.
    fn write_with(&self, at: usize, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Varint(key, _) => {
                let number = bytes.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte));
                write_number(*key, number, out);
            }
            Self::Bytes(key, _) if at == 0 => write_bytes(*key, bytes, out),
            Self::Bytes(key, own) => write_bytes(*key, &replaced(own, at - 1, bytes), out),
            Self::Fixed(whole) => out.extend(*whole),
        }
    }
}

fn write_number(key: u64, number: u64, out: &mut Vec<u8>) {
    encode_varint(key, out);
    encode_varint(number, out);
}

fn write_bytes(key: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_number(key, bytes.len() as u64, out);
    out.extend(bytes);
}

/// The fields, if the bytes are a plausible message.
fn fields(mut message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let whole = message;
        let key = decode_varint(&mut message).ok()?;
        if !(1..=1_000).contains(&(key >> 3)) {
            return None;
        }
        let key_length = whole.len() - message.len();
        let (field, rest) = match key & 7 {
            0 => {
                let value = decode_varint(&mut message).ok()?;
                (Field::Varint(key, value), message)
            }
            2 => {
                let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                (Field::Bytes(key, bytes), rest)
            }
            kind @ (1 | 5) => {
                let length = if kind == 1 { 8 } else { 4 };
                let (field, rest) = whole.split_at_checked(key_length + length)?;
                (Field::Fixed(field), rest)
            }
            _ => return None,
        };
        fields.push(field);
        message = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use concord_proto::pb::imports::{
        ContactClient, ImportContact, ImportRecord, import_record::Record,
    };

    #[test]
    fn replaced_changes_one_value_only() {
        let clients =
            vec![ContactClient { client_source_id: "C1".into(), roles: vec!["PSC".into()] }];
        let surname = "Smith".to_owned();
        let contact = ImportContact { surname, clients, ..ImportContact::default() };
        let contact = ImportRecord { record: Some(Record::Contact(contact)), ..Default::default() }
            .encode_to_vec();
        // The contact, its client with an id and a role, its surname.
        assert!(count(&contact) >= 5);
        let decoded = (0..count(&contact)).filter_map(|at| {
            let record = ImportRecord::decode(replaced(&contact, at, b"x").as_slice()).ok()?;
            let Some(Record::Contact(contact)) = record.record else { return None };
            let client = contact.clients.first()?;
            Some([contact.surname, client.client_source_id.clone(), client.roles.join(";")])
        });
        let decoded: Vec<_> = decoded.collect();
        for expected in [["x", "C1", "PSC"], ["Smith", "x", "PSC"], ["Smith", "C1", "x"]] {
            assert!(decoded.contains(&expected.map(str::to_owned)), "{decoded:?}");
        }
    }

    #[test]
    fn malformed_message_has_no_values() {
        assert_eq!(count(b"\x0a\xff"), 0);
        assert_eq!(count(b""), 0);
    }
}
