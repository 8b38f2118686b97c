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
/// white space inside made one space, without [`is_invisible`] characters but
/// for those that a script needs; letter case kept. Two values are the same value
/// when their normal forms are equal.
///
/// A joiner (U+200C, U+200D) stays between two letters, and a variation selector
/// behind a character outside of ASCII: some scripts are written with them.
pub fn normalise(text: &str) -> String {
    if text.is_ascii() {
        return collapse(text.chars(), text.len());
    }
    let mut normal = composed(text);
    // What is left may compose again, and a joiner may have other neighbours then.
    while normal.chars().any(is_invisible) {
        let seen = composed(&without_invisible(&normal));
        if seen == normal {
            break;
        }
        normal = seen;
    }
    collapse(normal.chars(), normal.len())
}

/// The normal form of an id, a reference, a number, an e-mail address or a
/// telephone number: as [`normalise`], and without any [`is_invisible`] character.
/// Users do not type those, and two ids that look the same are the same.
pub fn normalise_id(text: &str) -> String {
    if text.is_ascii() {
        return collapse(text.chars(), text.len());
    }
    let seen: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    collapse(composed(&seen).chars(), seen.len())
}

/// Whether nothing of `text` can be seen.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// The first invisible character of `text` that its [normal form](normalise) leaves
/// out.
pub fn removed(text: &str) -> Option<char> {
    if text.is_ascii() {
        return None;
    }
    let kept = normalise(text);
    let count = |text: &str, of: char| text.chars().filter(|c| *c == of).count();
    text.chars().find(|c| is_invisible(*c) && count(text, *c) > count(&kept, *c))
}

/// Text in NFC.
fn composed(text: &str) -> String {
    if is_nfc_quick(text.chars()) == IsNormalized::Yes {
        text.to_owned()
    } else {
        text.nfc().collect()
    }
}

/// `text` without the invisible characters that no script needs where they are.
fn without_invisible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let before = seen.chars().next_back();
        let is_kept = match c {
            _ if !is_invisible(c) => true,
            '\u{200c}' | '\u{200d}' => {
                let after = rest.clone().find(|c| !is_invisible(*c));
                before.is_some_and(is_letter) && after.is_some_and(is_letter)
            }
            _ if is_variation(c) => {
                before.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_invisible(c))
            }
            _ => false,
        };
        if is_kept {
            seen.push(c);
        }
    }
    seen
}

/// Whether a joiner may have this neighbour.
fn is_letter(c: char) -> bool {
    (c.is_alphabetic() || is_combining_mark(c)) && (!is_invisible(c) || is_variation(c))
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

/// Whether a character is invisible: has the Unicode property
/// `Default_Ignorable_Code_Point`. Soft hyphens, byte order marks, joiners, marks
/// of direction, variation selectors, fillers, tags.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Those of the invisible characters that choose the form of the one before them.
fn is_variation(c: char) -> bool {
    matches!(
        c,
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Replaces a character that a program could not read: the text was damaged before
/// Concord received it.
pub const REPLACEMENT: char = '\u{fffd}';

/// The form in which client references are compared: only letter case is aside.
pub fn reference_key(text: &str) -> String {
    normalise_id(&normalise_id(text).to_lowercase())
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
    forbidden(text).map_or(Ok(()), |c| Err(not_kept(label, c)))
}

fn not_kept(label: &str, c: char) -> Problem {
    let text = format!("{label} holds a character that cannot be kept: U+{:04X}", u32::from(c));
    Problem::new(ErrorReason::InvalidCharacter, text)
}

/// The normal form of `text`, which may be empty and has at most `max`
/// characters.
pub fn plain(label: &str, text: &str, max: usize) -> Result<String, Problem> {
    check_characters(label, text)?;
    within(label, normalise(text), max)
}

/// As [`plain`], for text that is no field of a message, such as a claim of a token: what
/// the normal form would replace or leave out is refused, except for runs of blanks. Line
/// feeds and marks of direction are among it.
pub fn line(label: &str, text: &str, max: usize) -> Result<String, Problem> {
    let breaks = text.chars().find(|c| c.is_whitespace() && *c != ' ');
    match breaks.or_else(|| removed(text)) {
        Some(c) => Err(not_kept(label, c)),
        None => plain(label, text, max),
    }
}

/// As [`plain`], in the [normal form of an id](normalise_id).
pub fn plain_id(label: &str, text: &str, max: usize) -> Result<String, Problem> {
    check_characters(label, text)?;
    within(label, normalise_id(text), max)
}

/// `normal`, which has at most `max` characters.
fn within(label: &str, normal: String, max: usize) -> Result<String, Problem> {
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
    given(label, plain(label, text, max)?)
}

/// As [`plain_id`], and not blank.
pub fn required_id(label: &str, text: &str, max: usize) -> Result<String, Problem> {
    given(label, plain_id(label, text, max)?)
}

fn given(label: &str, normal: String) -> Result<String, Problem> {
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
