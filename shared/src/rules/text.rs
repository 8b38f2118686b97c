//! Plain text: its one normal form, its form for comparing, and its limits.
//!
//! Lengths are counted in characters (Unicode scalar values) of the normal form.

use unicode_normalization::{
    IsNormalized, UnicodeNormalization as _, char::is_combining_mark, is_nfc_quick,
};

use super::violation::Problem;
use crate::pb::records::ErrorReason;

/// A product's own id of a record.
pub const MAX_SOURCE_ID: usize = 200;
/// The practice's own reference of a client.
pub const MAX_REFERENCE: usize = 64;
/// A registered or trading name.
pub const MAX_NAME: usize = 300;
/// The title of a person.
pub const MAX_TITLE: usize = 50;
/// A forename, all middle names together, or a surname.
pub const MAX_NAME_PART: usize = 100;
/// Any line of an address, its town, county and postcode.
pub const MAX_ADDRESS_LINE: usize = 200;
/// An e-mail address: 64 before the `@`, 255 after it (RFC 3696, erratum 1690
/// lowers the sum to 254; what products hold already is kept).
pub const MAX_EMAIL: usize = 320;
/// A telephone number, with room for an extension.
pub const MAX_PHONE: usize = 40;
/// E-mail addresses of one record.
pub const MAX_EMAILS: usize = 20;
/// Telephone numbers of one record.
pub const MAX_PHONES: usize = 20;
/// Addresses that one record is created with.
pub const MAX_ADDRESSES: usize = 100;
/// Clients of one contact of an import.
pub const MAX_CONTACT_CLIENTS: usize = 1_000;
/// Characters of a user's value that a text for people quotes.
pub const MAX_QUOTED: usize = 40;

/// The normal form of text: NFC, without white space at the ends, every run of
/// white space inside made one space; letter case kept. Two values are the same
/// value when their normal forms are equal.
pub fn normalise(text: &str) -> String {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        collapse(text.chars(), text.len())
    } else {
        collapse(text.nfc(), text.len())
    }
}

fn collapse(chars: impl Iterator<Item = char>, capacity: usize) -> String {
    let mut out = String::with_capacity(capacity);
    let mut gap = false;
    for c in chars {
        if c.is_whitespace() {
            gap = true;
            continue;
        }
        if gap && !out.is_empty() {
            out.push(' ');
        }
        gap = false;
        out.push(c);
    }
    out
}

/// The form of text for comparing names and for searching: accents and letter
/// case gone (`ß` is `ss`, `ø` is `o`), apostrophes dropped, all other
/// punctuation and symbols made spaces, and those collapsed. `O’Brien`,
/// `OBRIEN` and `Ó'Brien` are one.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        collapse(text.chars().filter_map(fold_char), text.len())
    } else {
        let plain = text.chars().filter(|c| !is_apostrophe(*c)).nfkd();
        let letters = plain.filter(|c| !is_combining_mark(*c)).filter_map(fold_char);
        let mut folded = String::with_capacity(text.len());
        letters.for_each(|c| push_folded(&mut folded, c));
        collapse(folded.chars(), folded.len())
    }
}

/// A character that counts, a space for one that separates, `None` for one that
/// does neither.
fn fold_char(c: char) -> Option<char> {
    if is_apostrophe(c) || is_invisible(c) {
        None
    } else if c.is_alphanumeric() {
        Some(c.to_ascii_lowercase())
    } else {
        Some(' ')
    }
}

fn push_folded(out: &mut String, c: char) {
    for c in c.to_lowercase().filter(|c| !is_combining_mark(*c)) {
        match c {
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'þ' => out.push_str("th"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' | 'ð' | 'ɖ' => out.push('d'),
            'ħ' => out.push('h'),
            'ı' => out.push('i'),
            'ŧ' => out.push('t'),
            'ŋ' => out.push('n'),
            'ƒ' => out.push('f'),
            'ς' => out.push('σ'),
            other => out.push(other),
        }
    }
}

/// Every character that is written for an apostrophe, also the accents that
/// stand alone and the letters that look like one.
fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`'
            | '\u{b4}'
            | '\u{2b9}'..='\u{2bd}'
            | '\u{2c8}'
            | '\u{2018}'..='\u{201b}'
            | '\u{2032}'
            | '\u{1fef}'
            | '\u{1ffd}'
            | '\u{ff07}'
            | '\u{ff40}'
    )
}

/// Soft hyphens, joiners and marks of direction: nobody sees them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// The form in which client references are compared: only letter case is aside.
pub fn reference_key(text: &str) -> String {
    normalise(&normalise(text).to_lowercase())
}

/// The form in which two names are compared: [`fold()`], or for a name without
/// any letter or digit its [`reference_key`], so that `!!!` is not `???`.
pub fn match_key(name: &str) -> String {
    let folded = fold(name);
    if folded.is_empty() { reference_key(name) } else { folded }
}

/// The first character of `text` that cannot be kept: U+0000 (which not every
/// database keeps), every other control character that is not white space, and
/// the noncharacters of Unicode.
pub fn forbidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_forbidden(*c))
}

fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    (c.is_control() && !c.is_whitespace())
        || code & 0xfffe == 0xfffe
        || (0xfdd0..=0xfdef).contains(&code)
}

/// Refuses text with a [`forbidden`] character. `label` is what people call the
/// field.
pub fn check_characters(label: &str, text: &str) -> Result<(), Problem> {
    forbidden(text).map_or(Ok(()), |c| {
        let code = u32::from(c);
        let text = format!("{label} holds a character that cannot be kept: U+{code:04X}");
        Err(Problem::new(ErrorReason::InvalidCharacter, text))
    })
}

/// The normal form of `text`, which may be empty and has at most `max`
/// characters.
pub fn plain(label: &str, text: &str, max: usize) -> Result<String, Problem> {
    check_characters(label, text)?;
    let normal = normalise(text);
    // Bytes first: no text has more characters than bytes.
    if normal.len() > max {
        let length = normal.chars().count();
        if length > max {
            let text = format!("{label} is too long: {length} characters, at most {max}");
            return Err(Problem::new(ErrorReason::ValueTooLong, text));
        }
    }
    Ok(normal)
}

/// As [`plain`], and not blank.
pub fn required(label: &str, text: &str, max: usize) -> Result<String, Problem> {
    let normal = plain(label, text, max)?;
    if normal.is_empty() { Err(blank(label)) } else { Ok(normal) }
}

/// That a required field is blank.
pub fn blank(label: &str) -> Problem {
    Problem::new(ErrorReason::RequiredFieldBlank, format!("Required field is blank: {label}"))
}

/// That a list has more entries than it may.
pub fn too_many(label: &str, count: usize, max: usize) -> Problem {
    let text = format!("{label}: there are {count}, at most {max} are kept");
    Problem::new(ErrorReason::ValueTooLong, text)
}

/// A user's value as a text for people quotes it: its normal form without
/// [`forbidden`] characters, at most [`MAX_QUOTED`] characters of it.
pub fn quote(text: &str) -> String {
    shorten(text, MAX_QUOTED)
}

/// The normal form of `text` without [`forbidden`] characters, cut to `max`
/// characters, the last of them `…` when something was cut.
pub fn shorten(text: &str, max: usize) -> String {
    let kept: String = text.chars().filter(|c| !is_forbidden(*c)).collect();
    let normal = normalise(&kept);
    match normal.char_indices().nth(max) {
        None => normal,
        Some(_) => normal.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests;
