use super::*;
use crate::rules::reason_code;

fn reported(warnings: FieldViolations) -> Vec<(String, &'static str, String)> {
    warnings.into_iter().map(|one| (one.field, reason_code(one.reason), one.text)).collect()
}

#[test]
fn invisible_character_warning_names_the_code_point() {
    let name = records::PersonName {
        forename: "Ann\u{200b}".into(),
        surname: "علی\u{200c}رضا".into(),
        ..Default::default()
    };
    let text = "Forename came with a character that nobody sees, which was left out: U+200B";
    assert_eq!(
        reported(of_person_name(&name)),
        [("forename".to_owned(), "INVISIBLE_CHARACTER", text.to_owned())]
    );
}

#[test]
fn damaged_text_warning_quotes_the_text() {
    let address = records::Address { town: "Gr\u{fffd}ntal".into(), ..Default::default() };
    let text = "Town was damaged before it came, a character of it is lost: Gr\u{fffd}ntal";
    assert_eq!(
        reported(of_address(&address)),
        [("town".to_owned(), "DAMAGED_TEXT", text.to_owned())]
    );
}

#[test]
fn malformed_postcode_is_a_warning() {
    let address = records::Address {
        line_1: "1 High Street".into(),
        postcode: "NOT 1".into(),
        country: "gb".into(),
        ..Default::default()
    };
    assert_eq!(reported(of_address(&address))[0].1, "INVALID_POSTCODE");
    let good = records::Address { postcode: "ls1\u{200b}4ap".into(), ..address };
    assert_eq!(reported(of_address(&good))[0].1, "INVISIBLE_CHARACTER");
    assert_eq!(of_address(&good).len(), 1);
}

#[test]
fn omitted_value_is_quoted_in_the_warning() {
    let (mut violations, mut warnings) = (FieldViolations::new(), FieldViolations::new());
    let mut read = |text: &str| {
        let field = ("email", text);
        value_or_warning(&mut violations, &mut warnings, field, crate::rules::identifier::email)
    };
    assert_eq!(read("ann@example.com").as_deref(), Some("ann@example.com"));
    assert_eq!((read(""), read("ann@"), read("a\0@b.ie")), (None, None, None));
    let text = "E-mail address is not valid: write one address, such as ann@example.com; left out: \
                ann@";
    assert_eq!(reported(warnings), [("email".to_owned(), "INVALID_EMAIL", text.to_owned())]);
    assert_eq!(reported(violations)[0].1, "INVALID_CHARACTER");
}
