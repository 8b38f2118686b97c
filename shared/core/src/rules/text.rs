//! Normalisation, comparison keys and limits of text.
//!
//! Lengths are counted in characters (Unicode scalar values) of the normal form.

use unicode_normalization::{
    IsNormalized, UnicodeNormalization as _, char::is_combining_mark, is_nfc_quick,
};

use super::violation::ValueError;
use concord_proto::pb::records::ErrorReason;

/// The id that a product assigns to a record.
pub const MAX_SOURCE_ID: usize = 200;
/// The reference that the practice assigns to a client.
pub const MAX_REFERENCE: usize = 64;
/// A registered or trading name.
pub const MAX_NAME: usize = 300;
/// The title of a person.
pub const MAX_TITLE: usize = 50;
/// A forename, all middle names together, or a surname.
pub const MAX_NAME_PART: usize = 100;
/// Any line of an address, its town, county and postcode.
pub const MAX_ADDRESS_LINE: usize = 200;
/// An e-mail address: 64 before the `@`, 255 after it (RFC 3696; erratum 1690 lowers the
/// sum to 254, but products already store longer ones).
pub const MAX_EMAIL: usize = 320;
/// A telephone number, with room for an extension.
pub const MAX_PHONE: usize = 40;
/// E-mail addresses of one record.
pub const MAX_EMAILS: usize = 20;
/// Telephone numbers of one record.
pub const MAX_PHONES: usize = 20;
/// Addresses in the request that creates a record.
pub const MAX_ADDRESSES: usize = 100;
/// Clients of one contact in an import.
pub const MAX_CONTACT_CLIENTS: usize = 1_000;
/// Characters of a user's value that a message quotes.
pub const MAX_QUOTED: usize = 40;

/// The normal form of text: NFC, trimmed, each run of white space collapsed to one space,
/// without [`is_invisible`] characters except those that a script needs, case-sensitive.
/// Values with equal normal forms are equal.
///
/// Some scripts need a joiner (U+200C, U+200D) between two letters, or a variation selector
/// after a non-ASCII character.
pub fn normalise(text: &str) -> String {
    if text.is_ascii() {
        return collapse(text.chars(), text.len());
    }
    let mut normal = composed(text);
    // After the removal, characters may compose again and joiners may have other neighbours.
    while normal.chars().any(is_invisible) {
        let seen = composed(&without_invisible(&normal));
        if seen == normal {
            break;
        }
        normal = seen;
    }
    collapse(normal.chars(), normal.len())
}

/// The normal form of an id, a reference, a number, an e-mail address or a telephone number:
/// as [`normalise`], without any [`is_invisible`] character. Ids that look equal are equal.
pub fn normalise_id(text: &str) -> String {
    if text.is_ascii() {
        return collapse(text.chars(), text.len());
    }
    let seen: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    collapse(composed(&seen).chars(), seen.len())
}

/// True if `text` has only white space and invisible characters.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// The first invisible character of `text` that its [normal form](normalise) removes.
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

/// `text` without the invisible characters that no script needs at their position.
fn without_invisible(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let before = kept.chars().next_back();
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
            kept.push(c);
        }
    }
    kept
}

/// True if a joiner may have this neighbour.
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

/// Folds text for the comparison of names and for search: removes accents, letter case (`ß`
/// becomes `ss`, `ø` becomes `o`) and apostrophes; replaces other punctuation and symbols by
/// spaces, and collapses these. `O’Brien`, `OBRIEN` and `Ó'Brien` are equal.
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

/// The folded character: lower case, a space for a separator, `None` for a character to
/// drop.
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

/// True for every character that is used as an apostrophe, including spacing accents and
/// modifier letters.
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

/// True for an invisible character: one with the Unicode property
/// `Default_Ignorable_Code_Point`, such as soft hyphens, byte order marks, joiners,
/// direction marks, variation selectors, fillers and tags.
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

/// True for a variation selector, which selects the form of the character before it.
fn is_variation(c: char) -> bool {
    matches!(
        c,
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// The replacement character: a program could not decode a character, so the text was
/// damaged before Concord received it.
pub const REPLACEMENT: char = '\u{fffd}';

/// The comparison key of a client reference: case-insensitive.
pub fn reference_key(text: &str) -> String {
    normalise_id(&normalise_id(text).to_lowercase())
}

/// The comparison key of a name: [`fold()`], or for a name without letters and digits its
/// [`reference_key`], so that `!!!` and `???` differ.
pub fn match_key(name: &str) -> String {
    let folded = fold(name);
    if folded.is_empty() { reference_key(name) } else { folded }
}

/// The first character of `text` that cannot be stored: U+0000 (PostgreSQL rejects it),
/// every other control character that is not white space, and Unicode noncharacters.
pub fn forbidden(text: &str) -> Option<char> {
    text.chars().find(|c| is_forbidden(*c))
}

fn is_forbidden(c: char) -> bool {
    let code = u32::from(c);
    (c.is_control() && !c.is_whitespace())
        || code & 0xfffe == 0xfffe
        || (0xfdd0..=0xfdef).contains(&code)
}

/// Rejects text with a [`forbidden`] character. `label` is the name of the field for users.
pub fn check_characters(label: &str, text: &str) -> Result<(), ValueError> {
    forbidden(text).map_or(Ok(()), |c| Err(invalid_character(label, c)))
}

fn invalid_character(label: &str, c: char) -> ValueError {
    let text = format!("{label} holds a character that cannot be kept: U+{:04X}", u32::from(c));
    ValueError::new(ErrorReason::InvalidCharacter, text)
}

/// The normal form of `text`: at most `max` characters, may be empty.
pub fn plain(label: &str, text: &str, max: usize) -> Result<String, ValueError> {
    check_characters(label, text)?;
    within(label, normalise(text), max)
}

/// As [`plain`], for text outside of messages, such as a claim of a token. Rejects
/// characters that the normal form would replace or remove, such as line feeds and direction
/// marks. Runs of blanks are collapsed.
pub fn line(label: &str, text: &str, max: usize) -> Result<String, ValueError> {
    let breaks = text.chars().find(|c| c.is_whitespace() && *c != ' ');
    match breaks.or_else(|| removed(text)) {
        Some(c) => Err(invalid_character(label, c)),
        None => plain(label, text, max),
    }
}

/// As [`plain`], in the [normal form of an id](normalise_id).
pub fn plain_id(label: &str, text: &str, max: usize) -> Result<String, ValueError> {
    check_characters(label, text)?;
    within(label, normalise_id(text), max)
}

/// Checks that `normal` has at most `max` characters.
fn within(label: &str, normal: String, max: usize) -> Result<String, ValueError> {
    // A text has at most as many characters as bytes.
    if normal.len() > max {
        let length = normal.chars().count();
        if length > max {
            let text = format!("{label} is too long: {length} characters, at most {max}");
            return Err(ValueError::new(ErrorReason::ValueTooLong, text));
        }
    }
    Ok(normal)
}

/// As [`plain`], not blank.
pub fn required(label: &str, text: &str, max: usize) -> Result<String, ValueError> {
    given(label, plain(label, text, max)?)
}

/// As [`plain_id`], not blank.
pub fn required_id(label: &str, text: &str, max: usize) -> Result<String, ValueError> {
    given(label, plain_id(label, text, max)?)
}

fn given(label: &str, normal: String) -> Result<String, ValueError> {
    if normal.is_empty() { Err(blank(label)) } else { Ok(normal) }
}

/// The error for a blank required field.
pub fn blank(label: &str) -> ValueError {
    ValueError::new(ErrorReason::RequiredFieldBlank, format!("Required field is blank: {label}"))
}

/// The error for a list with too many entries.
pub fn too_many(label: &str, count: usize, max: usize) -> ValueError {
    let text = format!("{label}: there are {count}, at most {max} are kept");
    ValueError::new(ErrorReason::ValueTooLong, text)
}

/// The parts that are not empty, with `separator` between them.
pub(super) fn joined<'a>(parts: impl IntoIterator<Item = &'a String>, separator: &str) -> String {
    let parts = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(separator)
}

/// Quotes a user's value for a message: [`shorten`] to [`MAX_QUOTED`] characters.
pub fn quote(text: &str) -> String {
    shorten(text, MAX_QUOTED)
}

/// The normal form of `text` without [`forbidden`] characters, truncated to `max` characters.
/// A truncated text ends with `…`.
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
