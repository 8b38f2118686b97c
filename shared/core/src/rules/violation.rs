//! Violations of the field rules: field, reason, and a text for people.

use concord_proto::pb::records::ErrorReason;

/// Maximum number of violations kept for one record or request. The details of a status
/// must fit the headers of a response.
pub const MAX_VIOLATIONS: usize = 50;

/// The common prefix of the names of [`ErrorReason`].
const PREFIX: &str = "ERROR_REASON_";

/// The violation of a rule by a value, before it is assigned to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// The reason, for programs.
    pub reason: ErrorReason,
    /// The reason, for people; quotes at most 40 characters of the value.
    pub text: String,
}

impl ValueError {
    /// An error with its reason and text.
    pub fn new(reason: ErrorReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    /// The violation of `field` by this value.
    pub fn at(self, field: impl Into<String>) -> FieldViolation {
        FieldViolation { field: field.into(), reason: self.reason, text: self.text }
    }
}

/// The violation of a rule by a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path of the field, such as `addresses[0].address.line_1`; in an import the name
    /// of the CSV column; empty for the whole record.
    pub field: String,
    /// The reason, for programs.
    pub reason: ErrorReason,
    /// The reason, for people.
    pub text: String,
}

impl FieldViolation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, reason: ErrorReason, text: impl Into<String>) -> Self {
        ValueError::new(reason, text).at(field)
    }

    /// Prefixes the path of the field: `line_1` under `addresses[0].address`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.field = path(prefix, &self.field);
        self
    }
}

/// Joins the path of a message and the path of a field in it. Either may be empty.
pub fn path(prefix: &str, field: &str) -> String {
    match (prefix.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (_, true) => prefix.to_owned(),
        _ if field.starts_with('[') => format!("{prefix}{field}"),
        _ => format!("{prefix}.{field}"),
    }
}

/// The violations of one record or request, in the order of its fields, without
/// duplicates. Keeps at most [`MAX_VIOLATIONS`] and counts the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldViolations {
    kept: Vec<FieldViolation>,
    left_out: usize,
}

impl FieldViolations {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a violation of `field`.
    pub fn push(&mut self, field: impl Into<String>, reason: ErrorReason, text: impl Into<String>) {
        self.add(FieldViolation::new(field, reason, text));
    }

    /// Adds a violation, unless the list contains it. Beyond [`MAX_VIOLATIONS`] it is only
    /// counted.
    pub fn add(&mut self, violation: FieldViolation) {
        if self.kept.contains(&violation) {
            return;
        }
        if self.kept.len() < MAX_VIOLATIONS {
            self.kept.push(violation);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds the violations of `more`, in their order.
    pub fn append(&mut self, more: Self) {
        self.left_out += more.left_out;
        self.extend(more);
    }

    /// The value; on an error records the violation and returns `None`.
    pub fn check<T>(&mut self, result: Result<T, FieldViolation>) -> Option<T> {
        result.map_err(|violation| self.add(violation)).ok()
    }

    /// The value of `field`; on an error records the violation and returns `None`.
    pub fn field<T>(&mut self, field: &str, result: Result<T, ValueError>) -> Option<T> {
        result.map_err(|error| self.add(error.at(field))).ok()
    }

    /// The value of the message in `prefix`; on an error records its violations and returns
    /// `None`.
    pub fn part<T>(&mut self, prefix: &str, result: Result<T, Self>) -> Option<T> {
        result.map_err(|violations| self.append(violations.under(prefix))).ok()
    }

    /// Prefixes the paths of all fields.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        let Self { kept, left_out } = self;
        Self { kept: kept.into_iter().map(|violation| violation.under(prefix)).collect(), left_out }
    }

    /// `value`, if it is present and there is no violation.
    ///
    /// A missing value always has a violation. Without both, the record is still rejected.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// True if there are no violations.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Number of violations kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Number of violations that were counted and not kept.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The violations, in the order of the fields.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldViolation> {
        self.kept.iter()
    }

    /// The violations, in the order of the fields.
    pub fn into_vec(self) -> Vec<FieldViolation> {
        self.kept
    }
}

impl Extend<FieldViolation> for FieldViolations {
    fn extend<I: IntoIterator<Item = FieldViolation>>(&mut self, violations: I) {
        for violation in violations {
            self.add(violation);
        }
    }
}

impl From<FieldViolation> for FieldViolations {
    fn from(violation: FieldViolation) -> Self {
        Self { kept: vec![violation], left_out: 0 }
    }
}

impl IntoIterator for FieldViolations {
    type Item = FieldViolation;
    type IntoIter = std::vec::IntoIter<FieldViolation>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<'a> IntoIterator for &'a FieldViolations {
    type Item = &'a FieldViolation;
    type IntoIter = std::slice::Iter<'a, FieldViolation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The name of a reason without its prefix, such as `INVALID_UTR`. `google.rpc.ErrorInfo`
/// and the failures of an import use this form.
pub fn reason_code(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The reason whose [`reason_code`] is `code`.
pub fn reason_from_code(code: &str) -> Option<ErrorReason> {
    ErrorReason::from_str_name(&format!("{PREFIX}{code}"))
}

#[cfg(test)]
mod tests;
