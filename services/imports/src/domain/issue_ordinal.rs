//! The ordinals of the issues of a record. They are stored: a record has one issue for each
//! ordinal, and its issues are listed in their order.
//!
//! | Ordinals | Issues | Found by |
//! | --- | --- | --- |
//! | from 0 | errors of the record by itself, or its erasure | phase `index` |
//! | 1,000 | the key is used by several records | phase `keys` |
//! | 1,001 | the client reference is used by several clients | phase `references` |
//! | 1,002 | overlapping periods, or too many addresses of an owner | phase `periods` |
//! | 1,003 | a replacement replaces nothing | phase `replace` |
//! | from 2,000 | parents, and conflicts with stored records | phases that apply |
//! | from 3,000 | warnings | phases `index` and those that apply |

/// The first error of a record by itself.
pub(crate) const FIRST_OWN: i64 = 0;

/// The key is used by several records.
pub(crate) const KEY: i64 = 1_000;

/// The client reference is used by several clients.
pub(crate) const REFERENCE: i64 = 1_001;

/// The period of an address overlaps others, or its owner has too many addresses.
pub(crate) const PERIOD: i64 = 1_002;

/// A replacement replaces nothing.
pub(crate) const REPLACES_NOTHING: i64 = 1_003;

/// The first error that a phase that applies records adds.
pub(crate) const FIRST_OF_APPLY: i64 = 2_000;

/// The first warning, after all errors.
pub(crate) const FIRST_WARNING: i64 = 3_000;
