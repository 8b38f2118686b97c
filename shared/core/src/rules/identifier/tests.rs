use proptest::prelude::*;

use super::*;
use crate::rules::text::forbidden;
use concord_proto::pb::records::Jurisdiction;

type Reader = fn(&str) -> Result<Option<String>, ValueError>;

fn company_number(text: &str) -> Result<Option<String>, ValueError> {
    super::company_number(text, Jurisdiction::Unspecified)
}

const ALL: [(Reader, ErrorReason); 8] = [
    (company_number, ErrorReason::InvalidCompanyNumber),
    (utr, ErrorReason::InvalidUtr),
    (vat_number, ErrorReason::InvalidVat),
    (paye_reference, ErrorReason::InvalidPaye),
    (nino, ErrorReason::InvalidNino),
    (ppsn, ErrorReason::InvalidPpsn),
    (email, ErrorReason::InvalidEmail),
    (country, ErrorReason::InvalidCountry),
];

/// Checks a table: each line has the input and the canonical form, or `-` if it is invalid.
fn check_table(read: Reader, reason: ErrorReason, table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (given, kept) = line.split_once('|').unwrap();
        let (given, kept) = (given.trim_end(), kept.trim());
        match read(given) {
            Ok(canonical) => assert_eq!(canonical.as_deref(), Some(kept), "{given}"),
            Err(error) => {
                assert_eq!(kept, "-", "{given}: {}", error.text);
                assert_eq!(error.reason, reason, "{given}");
            }
        }
    }
}

// The expected results for UTRs, VAT numbers and PPS numbers are those of python-stdnum
// 2.2: a sample of some 67,000 numbers.

#[test]
fn utr_check_digit_is_verified() {
    let table = "
        1955839661|1955839661
        19558 39661|1955839661
        1955839661 K|1955839661
        k1955839661|1955839661
        2658833507|2658833507
        6918650639|6918650639
        1135564365|1135564365
        1234567890|-
        0873712093|-
        0000000000|-
        5286764278|-
        816650266|-
        19501404999|-
        KK|-
        195583966١|-
    ";
    check_table(utr, ErrorReason::InvalidUtr, table);
}

#[test]
fn vat_number_canonical_form_drops_gb_and_keeps_ie() {
    let table = "
        123456782|123456782
        GB 980 7806 84|980780684
        gb434031494|434031494
        434031439|434031439
        XI736144244|736144244
        GB523938629111|523938629111
        081805530|-
        841321565|-
        GB654052054|-
        93527716|-
        000000000|-
        GD001|GD001
        GBGD499|GD499
        GD500|-
        HA499|-
        HA500|HA500
        GBHA5000|-
        HA+50|-
        GD888810003|GD888810003
        GB GD8888 100 03|GD888810003
        HA888856782|HA888856782
        GD888810004|-
        GD888856782|-
        HA888810003|-
        GD8888100|-
        GD88881000|-
        IE6433435F|IE6433435F
        6388047V|IE6388047V
        IE 6433435 OA|IE6433435OA
        IE7088565SN|IE7088565SN
        IE8D79739I|IE8D79739I
        8D79739i|IE8D79739I
        IE8D79738J|-
        IE3D08314A|-
        IE9257170A|-
        IE9204969AJ|-
        IEL943694D|-
        IE8D79739IA|-
        GB6433435F|-
        IE|-
        GB|-
        FR12345678901|-
        ١23456782|-
    ";
    check_table(vat_number, ErrorReason::InvalidVat, table);
}

#[test]
fn ppsn_check_letter_covers_the_newer_second_letters_only() {
    let table = "
        1234567T|1234567T
        6433435f|6433435F
        6433435 OA|6433435OA
        1234567FA|1234567FA
        6433435FT|6433435FT
        6433435FW|6433435FW
        1883068CH|1883068CH
        3678248RB|3678248RB
        6433435E|-
        6433435FA|-
        0791045PL|-
        1174349FW|-
        97160927D|-
        643343F|-
        6433435|-
        6433435OAA|-
        €433435F|-
    ";
    check_table(ppsn, ErrorReason::InvalidPpsn, table);
}

#[test]
fn nino_prefix_must_be_allocated() {
    let table = "
        AB 12 34 56 C|AB123456C
        ab123456|AB123456
        ZY123456D|ZY123456D
        AB123456E|-
        QQ123456C|-
        DA123456A|-
        AO123456A|-
        OA123456A|OA123456A
        BG123456A|-
        GB123456A|-
        TN123456A|-
        ZZ123456A|-
        AB12345C|-
        AB1234567|-
        AB123456CC|-
        A|-
        ÀB123456C|-
    ";
    check_table(nino, ErrorReason::InvalidNino, table);
}

#[test]
fn company_number_is_padded_to_eight_characters() {
    let table = "
        08209948|08209948
        7687209|07687209
        1|00000001
        sc421617|SC421617
        SC 12345|SC012345
        NI1|NI000001
        R0000123|R0000123
        IP12345R|IP12345R
        OC301234|OC301234
        1234567A|1234567A
        IP000CUS|IP000CUS
        sp2345rs|SP2345RS
        RS007777|RS007777
        IPABCDEF|-
        XX000CUS|-
        123456c|123456C
        12345V|012345V
        00000000|-
        0|-
        ABC|-
        AB|-
        A123|-
        SC1234A|-
        ABC12345|-
        123456789|-
        0820-948|-
        ١٢٣٤٥٦٧|-
        ÅB123456|-
    ";
    check_table(company_number, ErrorReason::InvalidCompanyNumber, table);
}

#[test]
fn company_number_has_the_form_of_its_register() {
    let cases = [
        (Jurisdiction::Ireland, "123456", Some("123456")),
        (Jurisdiction::Ireland, "00123456", Some("123456")),
        (Jurisdiction::Ireland, "SC123456", Some("SC123456")),
        (Jurisdiction::Ireland, "12A", None),
        (Jurisdiction::Ireland, "0", None),
        (Jurisdiction::Jersey, "4534", Some("4534")),
        (Jurisdiction::Guernsey, "22", Some("22")),
        (Jurisdiction::IsleOfMan, "123456c", Some("123456C")),
        (Jurisdiction::IsleOfMan, "12345V", Some("012345V")),
        (Jurisdiction::IsleOfMan, "123456", Some("123456")),
        (Jurisdiction::Scotland, "123456", Some("00123456")),
        (Jurisdiction::Scotland, "123456C", None),
        (Jurisdiction::Other, " hrb  1234 b", Some("HRB 1234 B")),
        (Jurisdiction::Other, "CHE-123.456.789", Some("CHE-123.456.789")),
        (Jurisdiction::Other, "none", None),
    ];
    for (jurisdiction, given, kept) in cases {
        let read = super::company_number(given, jurisdiction);
        assert_eq!(read.clone().ok().flatten().as_deref(), kept, "{given}: {read:?}");
        if let Some(kept) = kept {
            assert_eq!(super::company_number(kept, jurisdiction), read);
        }
    }
}

#[test]
fn equal_numbers_of_two_registers_differ() {
    let of = |text: &str, jurisdiction| {
        let number = super::company_number(text, jurisdiction).unwrap().unwrap();
        (register(&number, jurisdiction), number)
    };
    let house = of("123456", Jurisdiction::EnglandWales);
    assert_eq!(house, of("00123456", Jurisdiction::Unspecified));
    assert_eq!(of("SC123456", Jurisdiction::Ireland), of("SC123456", Jurisdiction::Scotland));
    assert_eq!(of("123456C", Jurisdiction::IsleOfMan), of("123456C", Jurisdiction::Unspecified));
    let others = [Jurisdiction::Ireland, Jurisdiction::Jersey, Jurisdiction::Guernsey];
    let mut all: Vec<_> = others.map(|jurisdiction| of("123456", jurisdiction)).into();
    all.extend([house, of("123456", Jurisdiction::Other), of("123456C", Jurisdiction::IsleOfMan)]);
    for (n, one) in all.iter().enumerate() {
        assert!(!all[..n].contains(one), "{one:?}");
    }
}

#[test]
fn number_with_unknown_register_has_several_forms() {
    let possible = |text| possible_company_numbers(text).unwrap();
    assert_eq!(possible("123456"), ["00123456", "123456"]);
    assert_eq!(possible("00123456"), ["00123456"]);
    assert_eq!(possible("123456c"), ["123456C"]);
    assert_eq!(possible("HRB 1234"), ["HRB 1234"]);
    assert!(possible_company_numbers("none").is_err());
    assert!(possible("").is_empty());
}

#[test]
fn paye_reference_has_office_and_employer() {
    let table = "
        123/AB456|123/AB456
        123 / ab456|123/AB456
        123/A|123/A
        123/A123456789|123/A123456789
        123/A1234567890|-
        12/AB456|-
        1234/AB456|-
        123AB456|-
        123/|-
        123/AB/1|-
        ABC/AB456|-
    ";
    check_table(paye_reference, ErrorReason::InvalidPaye, table);
}

#[test]
fn email_has_one_at_sign_and_a_domain() {
    let table = "
        ann@example.com|ann@example.com
        Ann.O'Brien+books@Example.co.uk|Ann.O'Brien+books@Example.co.uk
        ann@müller.de|ann@müller.de
        ann|-
        ann@|-
        @example.com|-
        ann@example|-
        ann@example..com|-
        ann@.example.com|-
        ann@-example.com|-
        ann@exa_mple.com|-
        ann@bob@example.com|-
        ann@example.com; bob@example.com|-
        Ann <ann@example.com>|-
        ann smith@example.com|-
    ";
    check_table(email, ErrorReason::InvalidEmail, table);
    let long = format!("{}@example.com", "a".repeat(309));
    assert_eq!(email(&long).unwrap_err().reason, ErrorReason::ValueTooLong);
    assert!(email(&long[1..]).is_ok());
}

#[test]
fn country_must_be_an_assigned_code() {
    let table = "
        gb|GB
        IE|IE
        AX|AX
        ZW|ZW
        UK|-
        XK|-
        EU|-
        GBR|-
        G|-
        G B E|-
        United Kingdom|-
        ßß|-
    ";
    check_table(country, ErrorReason::InvalidCountry, table);
    let text = country("UK").unwrap_err().text;
    assert_eq!(text, "Country is not valid: the United Kingdom is GB");
}

#[test]
fn blank_is_none_and_separators_alone_are_invalid() {
    for (read, reason) in ALL {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" \t\u{a0}"), Ok(None));
        assert_eq!(read("\u{feff} \u{200b}\u{3164}"), Ok(None));
        assert_eq!(read("--").unwrap_err().reason, reason);
        assert_eq!(read("1\0").unwrap_err().reason, ErrorReason::InvalidCharacter);
    }
}

#[test]
fn error_text_has_the_field_and_a_hint() {
    assert_eq!(utr("12").unwrap_err().text, "UTR is not valid: it has ten digits");
    let text = nino("12").unwrap_err().text;
    assert!(text.starts_with("National Insurance number is not valid: it has two letters"));
}

proptest! {
    #[test]
    fn canonical_form_parses_to_itself(text in prop_oneof![
        any::<String>(),
        "[A-Z]{0,2}[0-9]{0,9}[A-Z]{0,2}",
        "[0-9]{10}K?",
        "[0-9]{3}/[a-z0-9]{1,11}",
        "[0-9][A-Z+*][0-9]{5}[A-W]",
        "[a-z.]{1,5}@[a-z.-]{1,9}",
    ]) {
        for (read, _) in ALL {
            match read(&text) {
                Ok(Some(canonical)) => {
                    prop_assert_eq!(forbidden(&canonical), None);
                    prop_assert_eq!(read(&canonical), Ok(Some(canonical)));
                }
                Ok(None) => prop_assert!(is_blank(&text)),
                Err(error) => prop_assert_eq!(forbidden(&error.text), None),
            }
        }
    }
}
