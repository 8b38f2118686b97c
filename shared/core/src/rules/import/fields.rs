//! Fields that the records of several kinds have.

use crate::rules::{
    draft, identifier, text,
    violation::{FieldViolations, ValueError},
    warning,
};

/// Parses the source id of the record. On an error, records the violation and returns an
/// empty id.
pub(super) fn own_source_id(violations: &mut FieldViolations, text: &str) -> String {
    violations.field("source_id", draft::source_id("Source id", text)).unwrap_or_default()
}

/// Parses the e-mail address of a record. An invalid one is left out with a warning.
pub(super) fn email(
    violations: &mut FieldViolations,
    warnings: &mut FieldViolations,
    text: &str,
) -> Vec<String> {
    warning::value_or_warning(violations, warnings, ("email", text), identifier::email)
        .into_iter()
        .collect()
}

/// Parses the telephone number of a record. An invalid one is left out with a warning.
pub(super) fn phone(
    violations: &mut FieldViolations,
    warnings: &mut FieldViolations,
    text: &str,
) -> Vec<String> {
    warning::value_or_warning(violations, warnings, ("phone", text), draft::phone)
        .into_iter()
        .collect()
}

/// Warns of damaged text in fields without invisible characters.
pub(super) fn damaged<const N: usize>(
    warnings: &mut FieldViolations,
    fields: [(&str, &str, &str); N],
) {
    for (field, label, text) in fields {
        warning::damaged(warnings, field, label, text);
    }
}

/// Checks a field that does not apply to the record: any text that can be stored is valid.
pub(super) fn ignored(violations: &mut FieldViolations, field: &str, label: &str, value: &str) {
    violations.field(field, text::check_characters(label, value));
}

/// The value of a required field.
pub(super) fn given<T>(label: &str, read: Result<Option<T>, ValueError>) -> Result<T, ValueError> {
    read?.ok_or_else(|| text::blank(label))
}

/// The first of `names` that is not blank, shortened for display.
pub(super) fn first_name<const N: usize>(names: [&str; N]) -> String {
    let shown = names.into_iter().map(|name| text::shorten(name, text::MAX_NAME));
    shown.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}
