//! Detects cells that were decoded or encoded in the wrong code page (mojibake).
//!
//! A spreadsheet decodes a UTF-8 file without a byte order mark in the code page of the
//! system: `Séamus` becomes `SÃ©amus`. When it saves the file, it replaces a character that
//! the code page lacks by a question mark, or by the letter without its accent: `Łukasz`
//! becomes `Lukasz`.

use concord_core::rules::text::{fold, normalise};

/// The upper halves of the code pages; the lower half is ASCII.
const CODE_PAGES: [&str; 6] = [
    // Windows, Western Europe.
    "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ\
     \u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿\
     ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
    // ISO 8859-1.
    "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\
     \u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\
     \u{9e}\u{9f}\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿\
     ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
    // ISO 8859-15.
    "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\
     \u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\
     \u{9e}\u{9f}\u{a0}¡¢£€¥Š§š©ª«¬\u{ad}®¯°±²³Žµ¶·ž¹º»ŒœŸ¿\
     ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
    // Windows, Central Europe.
    "€\u{81}‚\u{83}„…†‡\u{88}‰Š‹ŚŤŽŹ\u{90}‘’“”•–—\u{98}™š›śťžź\
     \u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż\
     ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
    // Macintosh.
    "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø\
     ¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ",
    // DOS, Western Europe.
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
     └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
];

/// The maximum number of repeated wrong decodings.
const MAX_REPEATS: usize = 3;

/// The replacement character of an undecodable byte.
const REPLACEMENT: char = '\u{fffd}';

/// Whether `is` is the text `was` in the wrong code page.
pub(super) fn is_converted(was: &str, is: &str) -> bool {
    if was.is_ascii() {
        return false;
    }
    let lossy: String =
        was.bytes().map(|byte| if byte < 128 { char::from(byte) } else { REPLACEMENT }).collect();
    is_made_of(was, is)
        || is_made_of(&lossy, is)
        || is_made_of(&plain(was), is)
        || CODE_PAGES.iter().any(|page| {
            let mut text = was.to_owned();
            for _ in 0..MAX_REPEATS {
                text = text.bytes().map(|byte| decode(page, byte)).collect();
                if is_made_of(&text, is) {
                    return true;
                }
            }
            let mut others = CODE_PAGES.iter().filter(|other| *other != page);
            others.any(|other| {
                let misread = was
                    .chars()
                    .map(|c| encode(page, c).map_or(REPLACEMENT, |byte| decode(other, byte)));
                is_made_of(&misread.collect::<String>(), is)
            })
        })
}

/// The text as saved in the Western European code page, with base letters instead of letters
/// that the page lacks.
fn plain(text: &str) -> String {
    let [western, ..] = CODE_PAGES;
    let letter = |c: char| if encode(western, c).is_some() { c } else { base(c) };
    normalise(text).chars().map(letter).collect()
}

/// The base letter of a character, `L` for `Ł`, `i` for `ı`; the character itself when it has
/// none.
fn base(c: char) -> char {
    let folded = fold(c.encode_utf8(&mut [0; 4]));
    let mut letters = folded.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if !letter.is_ascii_alphabetic() => c,
        (Some(letter), None) if c.is_uppercase() => letter.to_ascii_uppercase(),
        (Some(letter), None) => letter,
        _ => c,
    }
}

/// Whether the texts are equal, except for question marks instead of characters that a code
/// page lacks, white space, and invisible characters.
fn is_made_of(text: &str, is: &str) -> bool {
    let (text, is) = (normalise(text), normalise(is));
    let mut is = is.chars().peekable();
    for was in text.chars() {
        let is_lost = |is: char| ['?', REPLACEMENT].contains(&is) && !was.is_ascii();
        let found = is.next_if(|is| *is == was || is_lost(*is)).is_some();
        // Some tools remove these characters.
        if !found && !was.is_control() && was != '\u{ad}' {
            return false;
        }
    }
    is.next().is_none()
}

/// Decodes a byte.
fn decode(page: &str, byte: u8) -> char {
    match byte.checked_sub(128) {
        None => char::from(byte),
        Some(upper) => page.chars().nth(usize::from(upper)).unwrap_or(REPLACEMENT),
    }
}

/// Encodes a character; none when the page lacks it.
fn encode(page: &str, c: char) -> Option<u8> {
    if c.is_ascii() {
        return u8::try_from(u32::from(c)).ok();
    }
    let upper = page.chars().position(|known| known == c)?;
    u8::try_from(upper + 128).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_pages_have_128_upper_characters() {
        for page in CODE_PAGES {
            assert_eq!(page.chars().count(), 128, "{page}");
        }
    }
}
