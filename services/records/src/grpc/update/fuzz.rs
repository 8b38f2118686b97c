//! Fuzz test of field masks.

use concord_core::rules::MAX_VIOLATIONS;
use concord_testing::fuzz::Fuzz;
use prost_types::FieldMask;

use super::{tests::fields_of, *};

#[test]
fn any_mask_edits_named_fields_or_is_rejected() {
    let identifiers = fields_of("ClientIdentifiers").len();
    Fuzz::corpus("mask").cases(1_000).check_text(|text| {
        let paths: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let named = paths.len();
        let mask = Some(FieldMask { paths });
        let emails = vec![text.to_owned(); 3];
        let fields =
            Some(ClientFields { emails, client_reference: text.into(), ..Default::default() });
        let request =
            UpdateClientRequest { fields, update_mask: mask.clone(), ..Default::default() };
        match client(request) {
            // `identifiers` expands to its fields.
            Ok(command) => assert!((1..=identifiers * named).contains(&command.edits.len())),
            Err(wrong) => check(&wrong),
        }
        let fields = Some(PersonFields { nino: text.to_owned(), ..Default::default() });
        let request = UpdatePersonRequest { fields, update_mask: mask, ..Default::default() };
        match person(request) {
            Ok(command) => assert!((1..=named).contains(&command.edits.len())),
            Err(wrong) => check(&wrong),
        }
    });
}

fn check(wrong: &FieldViolations) {
    assert!((1..=MAX_VIOLATIONS).contains(&wrong.len()));
    for violation in wrong {
        let known = violation.field == "update_mask" || violation.field.starts_with("fields.");
        assert!(known, "{violation:?}");
        assert!(violation.text.len() < 1_000, "{violation:?}");
    }
}
