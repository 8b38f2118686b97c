use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;

#[test]
fn converted_numbers_are_detected() {
    for (was, is) in [
        ("0123456789", "123456789"),
        ("007", "7"),
        ("000", "0"),
        (" 07687209", "7687209 "),
        ("123457000000", "1.23457E+11"),
        ("1234567890123", "1.23457E+12"),
        ("100000000000", "1E+11"),
        ("1234567890123456", "1234567890123450"),
        ("1234567890123456", "1234567890123460"),
        // Rounded twice: to a double, then to fifteen digits.
        ("36029000000000549", "36029000000000600"),
        ("1234567890123456", "1.23456789012346e+15"),
        ("1.10", "1.1"),
        ("1.10", "1,1"),
        ("1,10", "1.1"),
        ("1.0", "1"),
        ("1.1", "1.10"),
        (".5", "0.5"),
        ("+442079460000", "442079460000"),
        ("+442079460000", "4.42079E+11"),
        ("5E2", "500"),
        ("5E2", "5.00E+02"),
        ("1e10", "10000000000"),
        ("1E10", "1.00E+10"),
        ("(15)", "-15"),
        ("1,234", "1234"),
        ("1234567", "1,234,567"),
        ("£5.00", "5"),
        ("50%", "0.5"),
        ("0.12345678901", "0.123456789"),
        ("1955839661.0", "1955839661"),
        ("5-", "-5"),
        ("1.50-", "-1.5"),
        ("1/2", "0.5"),
        ("1/2", "0,50"),
        ("1/3", "0.33"),
        ("2/3", "0.666666667"),
        ("1 1/2", "1.5"),
        ("13/16", "0.8125"),
    ] {
        assert_eq!(detect_conversion(was, is), Some(CellConversion::Number), "{was} {is}");
    }
}

#[test]
fn reformatted_dates_are_detected() {
    for is in [
        "01/03/2021",
        "03/01/2021",
        "1/3/2021",
        "3/1/21",
        "01.03.2021",
        "1-Mar-21",
        "01 Mar 2021",
        "01-mar-2021",
        "01 March 2021",
        "March 1, 2021",
        "01-Mär-21",
        "1 mars 2021",
        "Mar-21",
        "01-Mar",
        "2021/03/01",
        "21-03-01",
        "2021-03-01 00:00:00",
        "2021-03-01T00:00:00",
        "01/03/2021 00:00",
        "44256",
        "42794",
        "########",
    ] {
        let expected =
            if is.starts_with('#') { CellConversion::Other } else { CellConversion::Date };
        assert_eq!(detect_conversion("2021-03-01", is), Some(expected), "{is}");
    }
}

#[test]
fn text_converted_to_date_or_time_is_detected() {
    for (was, is) in [
        ("DEC1", "01-Dec"),
        ("DEC1", "1-Dec"),
        ("DEC1", "01/12/2026"),
        ("dec 1", "01. Dez"),
        ("SEP2", "02-Sep"),
        ("SEPT2", "02-Sep"),
        ("MAR2021", "Mar-21"),
        ("MAR45", "Mar-45"),
        ("MAI1", "01. Mai"),
        ("OKT10", "10.Okt"),
        ("3/4", "03-Apr"),
        ("3/4", "04-Mar"),
        ("3/4", "3-Apr"),
        ("3/4", "2026-04-03"),
        ("3/4", "03/04/2026"),
        ("3/4", "46115"),
        ("1-2", "01-Feb"),
        ("1-2", "02-Jan"),
        ("1-2", "Feb 1"),
        ("12-14", "14-Dec"),
        ("2026-01", "Jan-26"),
        ("2026-01", "01/26"),
        ("2026-01", "01/01/2026"),
        ("01/2026", "Jan-26"),
        ("1.10", "01. Okt"),
        ("1-2-3", "01/02/2003"),
        ("1:30", "01:30:00"),
        ("1:30", "1:30 AM"),
        ("10:05:00", "10:05"),
        ("1:30", "0.0625"),
        ("1:30", "0,06"),
        ("10:05", "0.420138889"),
        ("12:00", "0.5"),
        ("1 A", "01:00:00 AM"),
        ("1 p", "13:00"),
    ] {
        assert_eq!(detect_conversion(was, is), Some(CellConversion::Date), "{was} {is}");
    }
}

#[test]
fn impossible_day_converted_to_year_is_detected() {
    for (was, is) in [
        ("APR31", "Apr-31"),
        ("APR31", "01/04/1931"),
        ("APR31", "4/1/31"),
        ("APR31", "11414"),
        ("FEB30", "Feb-30"),
        ("FEB30", "1930-02-01"),
        ("FEB31", "Feb-31"),
        ("JUN31", "Jun-31"),
        ("SEP31", "Sep-31"),
        ("sept 31", "Sep-31"),
        ("NOV31", "Nov-31"),
        ("NOV31", "01/11/1931"),
        ("31NOV", "Nov-31"),
        ("2/30", "Feb-30"),
        ("2/30", "01/02/1930"),
        ("4/31", "Apr-31"),
        ("4/31", "4/1/1931"),
        ("FEB29", "Feb-29"),
        ("FEB29", "01/02/2029"),
        ("FEB29", "29-Feb"),
        ("FEB29", "29/02/2028"),
        ("2/29", "2029-02-01"),
        ("APR00", "Apr-00"),
        ("APR00", "01/04/2000"),
        // Some systems have these years in this century.
        ("NOV31", "01/11/2031"),
    ] {
        assert_eq!(detect_conversion(was, is), Some(CellConversion::Date), "{was} {is}");
    }
}

#[test]
fn wrong_code_pages_are_detected() {
    for (was, is) in [
        ("Séamus", "SÃ©amus"),
        ("Séamus", "SÃƒÂ©amus"),
        ("Séamus", "S√©amus"),
        ("Séamus", "S├®amus"),
        ("Séamus", "S?amus"),
        ("Séamus", "S??amus"),
        ("Séamus", "S\u{fffd}amus"),
        ("Séamus", "SÈamus"),
        ("Sean Ó hír", "Sean Ã“ hÃ\u{ad}r"),
        ("Sean Ó hír", "Sean Ã“ hÃr"),
        ("Sean Ó hÍr", "Sean Ã“ hÃr"),
        ("à la mode", "Ã\u{a0} la mode"),
        ("à la mode", "Ã  la mode"),
        ("Łukasz", "?ukasz"),
        ("Łukasz", "Å\u{81}ukasz"),
        ("Łukasz", "Å?ukasz"),
        ("Paddy’s “Bar”", "Paddyâ€™s â€œBarâ€\u{9d}"),
        ("£5 – ok", "Â£5 â€“ ok"),
        ("Łukasz Şahin", "Lukasz Sahin"),
        ("Łukasz Żółć", "Lukasz Zólc"),
        ("Erdoğan Ğ", "Erdogan G"),
        ("Őry Űr", "Ory Ur"),
        ("Đorđe", "Dorde"),
        ("Yıldız İpek", "Yildiz Ipek"),
        ("Ħamrun ħ", "Hamrun h"),
        ("Ŧ ŧ", "T t"),
        ("Ștefan Țîru", "Stefan Tîru"),
        ("Łukasz Éric Юрий", "Lukasz Éric ????"),
        ("Šimić", "Šimic"),
    ] {
        assert_eq!(detect_conversion(was, is), Some(CellConversion::CodePage), "{was} {is}");
    }
}

#[test]
fn other_conversions_are_detected() {
    for (was, is) in [
        ("true", "TRUE"),
        ("False", "FALSCH"),
        ("=1+1", "#NAME?"),
        ("007", "###"),
        ("'Ndrangheta", "Ndrangheta"),
        ("+44 20", "'+44 20"),
        ("O'Brien...", "O’Brien…"),
        ("a -- b (c)", "a – b ©"),
        ("a - b", "a – b"),
    ] {
        assert_eq!(detect_conversion(was, is), Some(CellConversion::Other), "{was} {is}");
    }
    let long = "x".repeat(40_000);
    assert_eq!(detect_conversion(&long, &long[..MAX_CELL]), Some(CellConversion::Other));
}

#[test]
fn user_changes_are_not_conversions() {
    for (was, is) in [
        ("0123456789", "123456788"),
        ("0123456789", "0123456789"),
        ("7", "007"),
        ("007", ""),
        ("A07", "A7"),
        ("123457000000", "1.23458E+11"),
        ("1234567890123456", "12345678901234500"),
        ("1955839661", "1955839660"),
        ("1.19", "1.2"),
        ("", "7"),
        ("2021-03-01", "2021-03-02"),
        ("2021-03-01", "02/03/2021"),
        ("2021-03-01", "Mar-22"),
        ("DEC1", "DEC2"),
        ("DEC1", "02-Dec"),
        ("3/4", "3/4 High Street"),
        ("3/4", "5 High Street"),
        ("3/4", "4/1"),
        ("3/4", "3/5"),
        ("1:30", "1:31"),
        ("1:30", "0.07"),
        ("1:30", "0.1"),
        ("1/2", "0.6"),
        ("1/3", "0.3"),
        ("4/2", "2"),
        ("5-", "5"),
        ("-5", "5-"),
        ("APR31", "Apr-30"),
        ("NOV31", "01/11/1932"),
        ("NOV31", "01/12/1931"),
        ("FEB29", "01/02/1929"),
        ("APR30", "01/04/1930"),
        ("NOV51", "01/11/2051"),
        ("Łukasz", "lukasz"),
        ("Łukasz", "Lucas"),
        ("Łukasz É", "Lukasz E"),
        ("Müller Ł", "Muller L"),
        ("Šimić", "Simic"),
        ("É", "E+1"),
        ("Séamus", "Seamus"),
        ("Séamus", "Séan"),
        ("Ó Néill", "ÓNéill"),
        ("SÃ©amus", "Séamus"),
        ("acme", "Acme"),
        ("C1", "C2"),
        ("May", "Maya"),
    ] {
        assert_eq!(detect_conversion(was, is), None, "{was} {is}");
    }
}

#[test]
fn white_space_is_ignored() {
    for (was, is) in [("a  b", "a b"), ("a\r\nb", "a\nb"), (" a", "a "), ("a\u{a0}b", "a b")] {
        assert!(is_same(was, is) && detect_conversion(was, is).is_none(), "{was:?} {is:?}");
    }
}

/// A model of a spreadsheet, independent of the tested code: what it saves for a cell. `variant`
/// selects its locale and formats.
fn saved(cell: &str, variant: u8) -> String {
    let cell = cell.trim();
    if let Ok(number) = cell.parse::<f64>()
        && number.is_finite()
        && !cell.contains(|c: char| c.is_alphabetic() && !c.eq_ignore_ascii_case(&'e'))
    {
        return shown_number(number, variant);
    }
    if let Some(day) = typed_day(cell, variant) {
        let form = ["%d-%b", "%d/%m/%Y", "%m/%d/%y", "%-d-%b-%y", "%d.%m.%Y", "%Y-%m-%d"];
        return day.format(form[usize::from(variant) % form.len()]).to_string();
    }
    if ["true", "false"].contains(&&*cell.to_lowercase()) {
        return cell.to_uppercase();
    }
    if cell.is_ascii() || variant.is_multiple_of(2) {
        return cell.to_owned();
    }
    // Windows-1252, where it is ISO 8859-1.
    cell.bytes()
        .map(|byte| if (0x80..0xa0).contains(&byte) { '?' } else { char::from(byte) })
        .collect()
}

fn shown_number(number: f64, variant: u8) -> String {
    if number.abs() >= 1e11 && variant.is_multiple_of(2) {
        let text = format!("{number:.5e}");
        let (mantissa, exponent) = text.split_once('e').unwrap();
        return format!("{mantissa}E+{exponent:0>2}");
    }
    // Fifteen digits, followed by zeros.
    let text = format!("{number:.14e}");
    text.parse::<f64>().unwrap().to_string()
}

/// Parses two or three parts as a date, in the order of one locale.
fn typed_day(cell: &str, variant: u8) -> Option<NaiveDate> {
    let months =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let upper = cell.to_uppercase();
    if let Some(month) = (1..).zip(months).find(|(_, name)| upper.starts_with(name)) {
        let day = upper[3..].trim_start_matches([' ', '-']);
        return NaiveDate::from_ymd_opt(2026, month.0, day.parse().ok()?);
    }
    let parts: Option<Vec<u32>> = cell
        .split(['/', '-', '.'])
        .map(|part| part.parse().ok().filter(|_| !part.starts_with('+')))
        .collect();
    let american = variant.is_multiple_of(3);
    match parts?.as_slice() {
        [year, month, day] if *year > 31 => {
            NaiveDate::from_ymd_opt(i32::try_from(*year).ok()?, *month, *day)
        }
        [year, month] if *year > 1_900 => {
            NaiveDate::from_ymd_opt(i32::try_from(*year).ok()?, *month, 1)
        }
        [a, b] if american => NaiveDate::from_ymd_opt(2026, *a, *b),
        [a, b] => NaiveDate::from_ymd_opt(2026, *b, *a),
        _ => None,
    }
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,18}",
        "0{0,3}[0-9]{1,12}\\.[0-9]{0,3}",
        "[+-]?[0-9]{1,3}E[0-9]{1,2}",
        "[0-9]{1,2}[/.-][0-9]{1,2}",
        "(19|20)[0-9]{2}-[0-9]{2}(-[0-9]{2})?",
        "(JAN|feb|Mar|DEC|Sep)[ -]?[0-9]{1,2}",
        "(true|TRUE|False)",
        "[A-Za-zéÓŁß’ ]{1,12}",
        "[A-Z]{1,3}[0-9]{1,6}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Every conversion by the model is detected.
    #[test]
    fn model_conversions_are_detected(was in cell(), variant in any::<u8>()) {
        let is = saved(&was, variant);
        prop_assert!(
            is_same(&was, &is) || detect_conversion(&was, &is).is_some(),
            "{was:?} was changed to {is:?}"
        );
    }

    #[test]
    fn comparison_of_any_cells_does_not_panic(was in any::<String>(), is in any::<String>()) {
        detect_conversion(&was, &is);
    }
}
