//! Masks that no client of ours builds.

use prost_types::FieldMask;
use shared::{rules::MAX_VIOLATIONS, testing::fuzz::Fuzz};

use super::*;

#[test]
fn any_mask_changes_fields_that_it_names_or_is_refused() {
    Fuzz::of("mask").cases(1_000).hold_text(|text| {
        let paths: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let named = paths.len();
        let mask = Some(FieldMask { paths });
        let emails = vec![text.to_owned(); 3];
        let fields =
            Some(ClientFields { emails, client_reference: text.into(), ..Default::default() });
        let request =
            UpdateClientRequest { fields, update_mask: mask.clone(), ..Default::default() };
        match client(request) {
            // `identifiers` stands for four.
            Ok(command) => assert!((1..=4 * named).contains(&command.edits.len())),
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

fn check(wrong: &Violations) {
    assert!((1..=MAX_VIOLATIONS).contains(&wrong.len()));
    for violation in wrong {
        let known = violation.field == "update_mask" || violation.field.starts_with("fields.");
        assert!(known, "{violation:?}");
        assert!(violation.text.len() < 1_000, "{violation:?}");
    }
}
