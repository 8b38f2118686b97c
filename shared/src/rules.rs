//! What a valid record is: the one place for the rules of fields, which both
//! services use.
//!
//! Everything here is pure: no clock, no database, no gRPC. Text goes in; a
//! normalised value comes out, or every [`Violation`] there is, named by field.

pub mod date;
pub mod draft;
#[cfg(test)]
mod fuzz;
pub mod identifier;
pub mod import;
pub mod likeness;
pub mod postcode;
pub mod terms;
pub mod text;
pub mod value;
pub mod violation;
pub mod warning;

pub use violation::{
    MAX_VIOLATIONS, Problem, Violation, Violations, reason_code, reason_from_code,
};
