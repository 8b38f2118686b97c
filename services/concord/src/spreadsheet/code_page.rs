//! Cells whose characters were read in another code page than they were written in.
//!
//! A spreadsheet that opens a file in UTF-8 without a byte order mark takes it for
//! one in the code page of the system: `Séamus` is `SÃ©amus` then. What a code page
//! lacks becomes a question mark when the file is saved in it, or the letter without
//! its accent: `Łukasz` is `Lukasz` then.

use shared::rules::text::{fold, normalise};

/// The upper halves of code pages; the lower half is ASCII.
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

/// Read wrongly so often in a row.
const TIMES: usize = 3;

/// A character that could not be read.
const UNKNOWN: char = '\u{fffd}';

/// Whether the text is the other one in another code page.
pub(super) fn is_rewritten(was: &str, is: &str) -> bool {
    if was.is_ascii() {
        return false;
    }
    let lossy: String =
        was.bytes().map(|byte| if byte < 128 { char::from(byte) } else { UNKNOWN }).collect();
    is_made_of(was, is)
        || is_made_of(&lossy, is)
        || is_made_of(&plain(was), is)
        || CODE_PAGES.iter().any(|page| {
            let mut text = was.to_owned();
            for _ in 0..TIMES {
                text = text.bytes().map(|byte| read(page, byte)).collect();
                if is_made_of(&text, is) {
                    return true;
                }
            }
            let mut others = CODE_PAGES.iter().filter(|other| *other != page);
            others.any(|other| {
                let misread =
                    was.chars().map(|c| written(page, c).map_or(UNKNOWN, |byte| read(other, byte)));
                is_made_of(&misread.collect::<String>(), is)
            })
        })
}

/// The text as it is saved in the code page of Western Europe, with the base letter in
/// the place of a letter that the page lacks.
fn plain(text: &str) -> String {
    let [western, ..] = CODE_PAGES;
    let letter = |c: char| if written(western, c).is_some() { c } else { base(c) };
    normalise(text).chars().map(letter).collect()
}

/// `L` for `Ł`, `i` for `ı`; the character itself when it has no base letter.
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

/// Whether the text is the other one, but for question marks in the place of what a
/// code page lacks, for white space, and for characters that are not seen.
fn is_made_of(text: &str, is: &str) -> bool {
    let (text, is) = (normalise(text), normalise(is));
    let mut is = is.chars().peekable();
    for was in text.chars() {
        let is_lost = |is: char| ['?', UNKNOWN].contains(&is) && !was.is_ascii();
        let found = is.next_if(|is| *is == was || is_lost(*is)).is_some();
        // Some tools take them away.
        if !found && !was.is_control() && was != '\u{ad}' {
            return false;
        }
    }
    is.next().is_none()
}

/// The character of a byte.
fn read(page: &str, byte: u8) -> char {
    match byte.checked_sub(128) {
        None => char::from(byte),
        Some(upper) => page.chars().nth(usize::from(upper)).unwrap_or(UNKNOWN),
    }
}

/// The byte of a character.
fn written(page: &str, c: char) -> Option<u8> {
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
    fn every_code_page_has_an_upper_half() {
        for page in CODE_PAGES {
            assert_eq!(page.chars().count(), 128, "{page}");
        }
    }
}
