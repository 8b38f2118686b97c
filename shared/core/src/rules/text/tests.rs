use proptest::prelude::*;

use super::*;

/// Text with many of the characters that the rules treat specially.
fn special_text() -> impl Strategy<Value = String> {
    let special = "aZß ẞİıøŁé\u{301}\u{327}\u{0}\t\n\u{85}\u{a0}\u{2003}'’ʼ´\u{1ffd}\u{1fef}\
                   \u{b4}Σςσǆﬁ²½Ω\u{2126}한\u{1100}\u{1161}\u{feff}\u{200b}\u{200c}\u{200d}\u{200e}\u{2060}\u{ad}\
                   \u{34f}\u{3164}\u{1160}\u{fe0f}\u{338}=\u{e0100}ब\u{94d}\u{fffe}-&.@;,/";
    let special: Vec<char> = special.chars().collect();
    let one = prop_oneof![prop::sample::select(special), any::<char>()];
    prop::collection::vec(one, 0..24).prop_map(|chars| chars.into_iter().collect())
}

#[test]
fn normal_form_changes_space_and_composition_only() {
    let cases = [
        ("", ""),
        ("  \t\r\n ", ""),
        ("  Acme \t  Limited\n", "Acme Limited"),
        ("Mu\u{308}ller", "Müller"),
        ("A\u{a0}\u{2003}B", "A B"),
        ("ACME limited", "ACME limited"),
        ("\u{212b}", "Å"),
    ];
    for (given, normal) in cases {
        assert_eq!(normalise(given), normal, "{given:?}");
    }
}

#[test]
fn equivalent_names_fold_to_one_key() {
    let cases = [
        ("O'Brien", "obrien"),
        ("O’Brien", "obrien"),
        ("OʼBrien", "obrien"),
        ("O´Brien", "obrien"),
        ("Ó BRIAIN & Müller  Limited", "o briain muller limited"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("STRAẞE", "strasse"),
        ("Søren Łukasz Đorđe Þór", "soren lukasz dorde thor"),
        ("Æther Œuvre", "aether oeuvre"),
        ("İstanbul ısı", "istanbul isi"),
        ("ΟΔΟΣ", "οδοσ"),
        ("οδός", "οδοσ"),
        ("Smith-Jones (Holdings) Ltd.", "smith jones holdings ltd"),
        ("A&B", "a b"),
        ("ﬁnance ２４", "finance 24"),
        ("co\u{ad}op\u{200b}", "coop"),
        ("!!!", ""),
    ];
    for (given, folded) in cases {
        assert_eq!(fold(given), folded, "{given:?}");
    }
}

#[test]
fn names_without_letters_have_different_match_keys() {
    assert_eq!(match_key("! LTD"), match_key("LTD"));
    assert_ne!(match_key("!!!"), match_key("???"));
}

#[test]
fn reference_key_ignores_letter_case_only() {
    assert_eq!(reference_key(" Twice "), reference_key("TWICE"));
    assert_eq!(reference_key("ÉCOLE"), reference_key("e\u{301}cole"));
    assert_ne!(reference_key("O'BRIEN"), reference_key("OBRIEN"));
}

#[test]
fn control_characters_are_rejected_and_white_space_is_not() {
    for bad in ["\0", "a\u{1}b", "\u{7f}", "\u{9f}", "\u{fffe}", "\u{10ffff}", "\u{fdd0}"] {
        let error = plain("Town", bad, 10).unwrap_err();
        assert_eq!(error.reason, ErrorReason::InvalidCharacter, "{bad:?}");
        assert_eq!(forbidden(&error.text), None);
    }
    assert_eq!(plain("Town", "a\0", 10).unwrap_err().text, NUL_TEXT);
    assert_eq!(plain("Town", "a\tb\r\nc\u{85}d", 10).unwrap(), "a b c d");
}

const NUL_TEXT: &str = "Town holds a character that cannot be kept: U+0000";

#[test]
fn length_counts_characters_of_the_normal_form() {
    assert_eq!(plain("Town", &format!("  {}  ", "é".repeat(10)), 10).unwrap().len(), 20);
    assert_eq!(plain("Town", &"e\u{301}".repeat(10), 10).unwrap(), "é".repeat(10));
    let error = plain("Town", &"é".repeat(11), 10).unwrap_err();
    assert_eq!(error.reason, ErrorReason::ValueTooLong);
    assert_eq!(error.text, "Town is too long: 11 characters, at most 10");
}

#[test]
fn required_field_of_spaces_is_blank() {
    let error = required("Surname", " \t ", 10).unwrap_err();
    assert_eq!(error.reason, ErrorReason::RequiredFieldBlank);
    assert_eq!(error.text, "Required field is blank: Surname");
}

#[test]
fn quoted_value_has_at_most_forty_characters() {
    assert_eq!(quote("a\0b\u{1}"), "ab");
    assert_eq!(quote(&"é".repeat(40)), "é".repeat(40));
    assert_eq!(quote(&"é".repeat(41)), format!("{}…", "é".repeat(39)));
    assert_eq!(shorten("abc", 0), "…");
}

#[test]
fn invisible_characters_are_removed_unless_a_script_needs_them() {
    let cases = [
        ("\u{feff}Acme\u{200b} Limited\u{200e}", "Acme Limited"),
        ("co\u{ad}op", "coop"),
        ("\u{200b}", ""),
        ("\u{3164}\u{115f} \u{e0041}", ""),
        // Persian and Sinhala are written with joiners, between two letters.
        ("علی\u{200c}رضا", "علی\u{200c}رضا"),
        ("ශ\u{dca}\u{200d}ර", "ශ\u{dca}\u{200d}ර"),
        ("علی\u{200b}\u{200c}رضا", "علی\u{200c}رضا"),
        ("\u{200c}علی\u{200d}", "علی"),
        ("علی \u{200c}رضا", "علی رضا"),
        ("葛\u{e0100}城", "葛\u{e0100}城"),
        ("A\u{fe0f}B", "AB"),
        ("e\u{200b}\u{301}", "é"),
    ];
    for (given, normal) in cases {
        assert_eq!(normalise(given), normal, "{given:?}");
        let is_complete = given.chars().filter(|c| is_invisible(*c)).count()
            == normal.chars().filter(|c| is_invisible(*c)).count();
        assert_eq!(removed(given).is_none(), is_complete, "{given:?}");
        assert_eq!(normalise_id(given).chars().find(|c| is_invisible(*c)), None);
    }
    assert_eq!(normalise_id("C\u{200d}1"), "C1");
    assert_eq!(removed("Ann\u{200b}"), Some('\u{200b}'));
}

#[test]
fn required_field_of_invisible_characters_is_blank() {
    for c in ['\u{200b}', '\u{feff}', '\u{200d}', '\u{202e}', '\u{3164}', '\u{fe0f}'] {
        let text = format!(" {c}{c}");
        for read in [required, required_id] {
            let error = read("Surname", &text, 10).unwrap_err();
            assert_eq!(error.reason, ErrorReason::RequiredFieldBlank, "{c:?}");
        }
    }
}

proptest! {
    #[test]
    fn invisible_characters_do_not_change_ids_and_keys(text in special_text(), at in 0..24_usize) {
        let id = normalise_id(&text);
        prop_assert_eq!(normalise_id(&id), id.clone());
        prop_assert_eq!(normalise_id(&normalise(&text)), id.clone());
        prop_assert_eq!(id.is_empty(), is_blank(&text));
        prop_assert_eq!(normalise(&text).is_empty(), is_blank(&text));
        let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
        for c in ["\u{200b}", "\u{feff}", "\u{200d}", "\u{e0001}"] {
            let other = [&text[..at], c, &text[at..]].concat();
            prop_assert_eq!(normalise_id(&other), id.clone());
            prop_assert_eq!(reference_key(&other), reference_key(&text));
            prop_assert_eq!(fold(&other), fold(&text));
        }
    }

    #[test]
    fn removed_reports_every_removal(text in special_text()) {
        let count = |text: &str| text.chars().filter(|c| is_invisible(*c)).count();
        prop_assert_eq!(removed(&text).is_some(), count(&text) > count(&normalise(&text)));
    }

    #[test]
    fn normalise_is_idempotent(text in special_text()) {
        let once = normalise(&text);
        prop_assert_eq!(normalise(&once), once);
    }

    #[test]
    fn fold_of_the_normal_form_equals_fold_of_the_text(text in special_text()) {
        prop_assert_eq!(fold(&normalise(&text)), fold(&text));
    }

    #[test]
    fn fold_is_idempotent(text in special_text()) {
        let once = fold(&text);
        prop_assert_eq!(fold(&once), once);
    }

    #[test]
    fn reference_key_is_idempotent(text in special_text()) {
        let once = reference_key(&text);
        prop_assert_eq!(reference_key(&once), once);
    }

    #[test]
    fn plain_text_is_storable_and_within_its_limit(text in special_text(), max in 0..30_usize) {
        match plain("Town", &text, max) {
            Ok(kept) => {
                prop_assert!(kept.chars().count() <= max);
                prop_assert_eq!(forbidden(&kept), None);
                prop_assert_eq!(plain("Town", &kept, max), Ok(kept));
            }
            Err(error) => prop_assert_eq!(forbidden(&error.text), None),
        }
        let shown = shorten(&text, max.max(1));
        prop_assert!(shown.chars().count() <= max.max(1));
        prop_assert_eq!(forbidden(&shown), None);
    }
}
