//! What is wrong with a record: field, reason, and a text for people.

use crate::pb::records::ErrorReason;

/// At most this many violations are kept of one record or request: the details
/// of a status must fit into the headers of an answer, and a record with more
/// is wrong as a whole.
pub const MAX_VIOLATIONS: usize = 50;

/// What all names of [`ErrorReason`] begin with.
const PREFIX: &str = "ERROR_REASON_";

/// What is wrong with a value, not yet said of which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The reason, for programs.
    pub reason: ErrorReason,
    /// The reason, for people; quotes at most 40 characters of the value.
    pub text: String,
}

impl Problem {
    /// A problem with its reason and text.
    pub fn new(reason: ErrorReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    /// The violation of this problem in `field`.
    pub fn at(self, field: impl Into<String>) -> Violation {
        Violation { field: field.into(), reason: self.reason, text: self.text }
    }
}

/// One rule that one field breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, such as `addresses[0].address.line_1`; of an
    /// import the name of the CSV column; empty for the record as a whole.
    pub field: String,
    /// The reason, for programs.
    pub reason: ErrorReason,
    /// The reason, for people.
    pub text: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, reason: ErrorReason, text: impl Into<String>) -> Self {
        Problem::new(reason, text).at(field)
    }

    /// The same violation, seen from the message that holds this one in
    /// `prefix`: `line_1` under `addresses[0].address`.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.field = path(prefix, &self.field);
        self
    }
}

/// Joins the path of a message with the path of a field in it; either may be
/// empty.
pub fn path(prefix: &str, field: &str) -> String {
    match (prefix.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (_, true) => prefix.to_owned(),
        _ if field.starts_with('[') => format!("{prefix}{field}"),
        _ => format!("{prefix}.{field}"),
    }
}

/// All violations of one record or request, in the order of its fields: at most
/// [`MAX_VIOLATIONS`], and none twice. Those beyond them are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    kept: Vec<Violation>,
    left_out: usize,
}

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one of `field`.
    pub fn push(&mut self, field: impl Into<String>, reason: ErrorReason, text: impl Into<String>) {
        self.add(Violation::new(field, reason, text));
    }

    /// Adds one, unless it is there already; counted only when there are
    /// [`MAX_VIOLATIONS`].
    pub fn add(&mut self, violation: Violation) {
        if self.kept.contains(&violation) {
            return;
        }
        if self.kept.len() < MAX_VIOLATIONS {
            self.kept.push(violation);
        } else {
            self.left_out += 1;
        }
    }

    /// Adds those of `more`, in their order.
    pub fn append(&mut self, more: Self) {
        self.left_out += more.left_out;
        self.extend(more);
    }

    /// The value, or `None` after noting the violation.
    pub fn check<T>(&mut self, result: Result<T, Violation>) -> Option<T> {
        result.map_err(|violation| self.add(violation)).ok()
    }

    /// The value of `field`, or `None` after noting what is wrong with it.
    pub fn field<T>(&mut self, field: &str, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.add(problem.at(field))).ok()
    }

    /// The value of the message in `prefix`, or `None` after noting its
    /// violations.
    pub fn part<T>(&mut self, prefix: &str, result: Result<T, Self>) -> Option<T> {
        result.map_err(|violations| self.append(violations.under(prefix))).ok()
    }

    /// The same violations, each seen from the message that holds this one in
    /// `prefix`.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        let Self { kept, left_out } = self;
        Self { kept: kept.into_iter().map(|violation| violation.under(prefix)).collect(), left_out }
    }

    /// `value` when there is no violation and it is there.
    ///
    /// A missing value goes with a violation always: whoever left it out has
    /// noted why. Should both be missing, the record is refused all the same.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many there are, without those that were only counted.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// How many more there were than are kept.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// All of them, in the order of the fields.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.kept.iter()
    }

    /// All of them, in the order of the fields.
    pub fn into_vec(self) -> Vec<Violation> {
        self.kept
    }
}

impl Extend<Violation> for Violations {
    fn extend<I: IntoIterator<Item = Violation>>(&mut self, violations: I) {
        for violation in violations {
            self.add(violation);
        }
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self { kept: vec![violation], left_out: 0 }
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The name of a reason without its prefix, such as `INVALID_UTR`: as
/// `google.rpc.ErrorInfo` and the failures of an import carry it.
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
