use super::*;

fn warning(postcode: &str, country: &str) -> Option<String> {
    postcode_warning(&Address {
        postcode: postcode.to_owned(),
        country: country.to_owned(),
        ..Address::default()
    })
}

#[test]
fn british_postcodes_of_every_form_are_valid() {
    for code in [
        "M1 1AE", "B33 8TH", "CR2 6XH", "DN55 1PT", "W1A 0AX", "EC1A 1BB", "GIR 0AA", "ls11aa",
        "BT1 5GS",
    ] {
        assert_eq!(warning(code, "GB"), None, "{code}");
        assert_eq!(warning(code, ""), None, "{code}");
    }
    for code in
        ["LS1 1A", "LS 1AA", "1AA LS1", "LSS1 1AA", "LS1 1CA", "LS1111AA", "99999", "é", "LS1"]
    {
        assert!(warning(code, "GB").is_some(), "{code}");
        assert!(warning(code, "").is_some(), "{code}");
    }
}

#[test]
fn eircodes_are_valid_for_ireland_only() {
    for code in ["A65 F4E2", "D02X285", "D6W F300"] {
        assert_eq!(warning(code, "IE"), None, "{code}");
        assert_eq!(warning(code, ""), None, "{code}");
        assert!(warning(code, "GB").is_some(), "{code}");
    }
    for code in ["A6W F4E2", "A65 F4E", "A65 F4E-2", "LS1 1AA"] {
        assert!(warning(code, "IE").is_some(), "{code}");
    }
}

#[test]
fn blank_and_foreign_postcodes_are_not_checked() {
    assert_eq!(warning("75008", "FR"), None);
    assert_eq!(warning("", "GB"), None);
    assert_eq!(warning("", ""), None);
}

#[test]
fn warning_quotes_a_shortened_postcode() {
    assert_eq!(warning("LS1 1A", "GB").unwrap(), "Postcode does not look like one: LS1 1A");
    assert!(warning(&"9".repeat(200), "GB").unwrap().chars().count() < 100);
}
