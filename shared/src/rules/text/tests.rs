use proptest::prelude::*;

use super::*;

/// Text with many of the characters that the rules treat in a special way.
fn awkward() -> impl Strategy<Value = String> {
    let special = "aZß ẞİıøŁé\u{301}\u{327}\u{0}\t\n\u{85}\u{a0}\u{2003}'’ʼ´\u{1ffd}\u{1fef}\
                   \u{b4}Σςσǆﬁ²½Ω\u{2126}한\u{1100}\u{1161}\u{feff}\u{200b}\u{200c}\u{200d}\u{200e}\u{2060}\u{ad}\
                   \u{34f}\u{3164}\u{1160}\u{fe0f}\u{338}=\u{e0100}ब\u{94d}\u{fffe}-&.@;,/";
    let special: Vec<char> = special.chars().collect();
    let one = prop_oneof![prop::sample::select(special), any::<char>()];
    prop::collection::vec(one, 0..24).prop_map(|chars| chars.into_iter().collect())
}

#[test]
fn the_normal_form_differs_in_space_and_composition_only() {
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
fn names_that_people_take_for_one_fold_to_one() {
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
fn a_name_of_signs_only_still_differs_from_another() {
    assert_eq!(match_key("! LTD"), match_key("LTD"));
    assert_ne!(match_key("!!!"), match_key("???"));
}

#[test]
fn references_differ_by_more_than_letter_case() {
    assert_eq!(reference_key(" Twice "), reference_key("TWICE"));
    assert_eq!(reference_key("ÉCOLE"), reference_key("e\u{301}cole"));
    assert_ne!(reference_key("O'BRIEN"), reference_key("OBRIEN"));
}

#[test]
fn control_characters_are_refused_and_white_space_is_not() {
    for bad in ["\0", "a\u{1}b", "\u{7f}", "\u{9f}", "\u{fffe}", "\u{10ffff}", "\u{fdd0}"] {
        let problem = plain("Town", bad, 10).unwrap_err();
        assert_eq!(problem.reason, ErrorReason::InvalidCharacter, "{bad:?}");
        assert_eq!(forbidden(&problem.text), None);
    }
    assert_eq!(plain("Town", "a\0", 10).unwrap_err().text, NUL_TEXT);
    assert_eq!(plain("Town", "a\tb\r\nc\u{85}d", 10).unwrap(), "a b c d");
}

const NUL_TEXT: &str = "Town holds a character that cannot be kept: U+0000";

#[test]
fn length_is_counted_in_characters_of_the_normal_form() {
    assert_eq!(plain("Town", &format!("  {}  ", "é".repeat(10)), 10).unwrap().len(), 20);
    assert_eq!(plain("Town", &"e\u{301}".repeat(10), 10).unwrap(), "é".repeat(10));
    let problem = plain("Town", &"é".repeat(11), 10).unwrap_err();
    assert_eq!(problem.reason, ErrorReason::ValueTooLong);
    assert_eq!(problem.text, "Town is too long: 11 characters, at most 10");
}

#[test]
fn a_required_field_of_spaces_is_blank() {
    let problem = required("Surname", " \t ", 10).unwrap_err();
    assert_eq!(problem.reason, ErrorReason::RequiredFieldBlank);
    assert_eq!(problem.text, "Required field is blank: Surname");
}

#[test]
fn a_quoted_value_has_forty_characters_at_most() {
    assert_eq!(quote("a\0b\u{1}"), "ab");
    assert_eq!(quote(&"é".repeat(40)), "é".repeat(40));
    assert_eq!(quote(&"é".repeat(41)), format!("{}…", "é".repeat(39)));
    assert_eq!(shorten("abc", 0), "…");
}

#[test]
fn what_nobody_sees_is_left_out_unless_a_script_needs_it() {
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
        let is_whole = given.chars().filter(|c| is_invisible(*c)).count()
            == normal.chars().filter(|c| is_invisible(*c)).count();
        assert_eq!(removed(given).is_none(), is_whole, "{given:?}");
        assert_eq!(normalise_id(given).chars().find(|c| is_invisible(*c)), None);
    }
    assert_eq!(normalise_id("C\u{200d}1"), "C1");
    assert_eq!(removed("Ann\u{200b}"), Some('\u{200b}'));
}

#[test]
fn a_required_field_of_what_nobody_sees_is_blank() {
    for c in ['\u{200b}', '\u{feff}', '\u{200d}', '\u{202e}', '\u{3164}', '\u{fe0f}'] {
        let text = format!(" {c}{c}");
        for read in [required, required_id] {
            let problem = read("Surname", &text, 10).unwrap_err();
            assert_eq!(problem.reason, ErrorReason::RequiredFieldBlank, "{c:?}");
        }
    }
}

proptest! {
    #[test]
    fn an_id_of_text_that_looks_the_same_is_the_same(text in awkward(), at in 0..24_usize) {
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
    fn what_is_removed_is_told(text in awkward()) {
        let count = |text: &str| text.chars().filter(|c| is_invisible(*c)).count();
        prop_assert_eq!(removed(&text).is_some(), count(&text) > count(&normalise(&text)));
    }

    #[test]
    fn normalising_twice_changes_nothing(text in awkward()) {
        let once = normalise(&text);
        prop_assert_eq!(normalise(&once), once);
    }

    #[test]
    fn folding_takes_the_normal_form_as_the_text(text in awkward()) {
        prop_assert_eq!(fold(&normalise(&text)), fold(&text));
    }

    #[test]
    fn folding_twice_changes_nothing(text in awkward()) {
        let once = fold(&text);
        prop_assert_eq!(fold(&once), once);
    }

    #[test]
    fn a_reference_key_is_its_own_key(text in awkward()) {
        let once = reference_key(&text);
        prop_assert_eq!(reference_key(&once), once);
    }

    #[test]
    fn what_is_kept_is_within_its_limit_and_can_be_kept(text in awkward(), max in 0..30_usize) {
        match plain("Town", &text, max) {
            Ok(kept) => {
                prop_assert!(kept.chars().count() <= max);
                prop_assert_eq!(forbidden(&kept), None);
                prop_assert_eq!(plain("Town", &kept, max), Ok(kept));
            }
            Err(problem) => prop_assert_eq!(forbidden(&problem.text), None),
        }
        let shown = shorten(&text, max.max(1));
        prop_assert!(shown.chars().count() <= max.max(1));
        prop_assert_eq!(forbidden(&shown), None);
    }
}
