//! Validation and normalisation of the fields of records, for both services.
//!
//! The module is pure: no clock, no database, no gRPC. A function takes text and returns a
//! normalised value, or all [`FieldViolation`]s of the record.

pub mod date;
pub mod draft;
#[cfg(test)]
mod fuzz;
pub mod identifier;
pub mod import;
pub mod match_key;
pub mod postcode;
pub mod terms;
pub mod text;
pub mod value;
pub mod violation;
pub mod warning;

pub use violation::{
    FieldViolation, FieldViolations, MAX_VIOLATIONS, ValueError, reason_code, reason_from_code,
};
