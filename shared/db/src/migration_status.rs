//! The migrations of a database compared with those of the program.
//!
//! While replicas of two versions run, the schema is ahead of the older program. That is
//! compatible unless a migration removes something. The name of such a migration states
//! the number of the migration that a program must have to be compatible, as in
//! `m20270301_09_drop_nickname_needs_07`.

use std::fmt;

/// The separator before the number of the required migration.
const NEEDS: &str = "_needs_";

/// The migrations of a database compared with those of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationStatus {
    /// In the program, and not applied to the database: the schema is behind.
    pub pending: Vec<String>,
    /// Applied to the database, and not in the program: the schema is ahead.
    pub newer: Vec<String>,
    /// Those of `newer` that are incompatible with the program.
    pub incompatible: Vec<String>,
}

impl MigrationStatus {
    /// Compares the migrations of a program with those applied to a database.
    pub fn of(known: &[String], applied: &[String]) -> Self {
        let missing = |of: &[String], from: &[String]| -> Vec<String> {
            of.iter().filter(|name| !from.contains(name)).cloned().collect()
        };
        let newest =
            known.iter().filter_map(|name| migration_number(name)).max().unwrap_or_default();
        let newer = missing(applied, known);
        let incompatible = newer
            .iter()
            .filter(|name| required_migration(name).is_some_and(|required| required > newest));
        let incompatible = incompatible.cloned().collect();
        Self { pending: missing(known, applied), newer, incompatible }
    }
}

/// The number in the name of a migration: 3 of `m20261120_03_whole`.
pub fn migration_number(name: &str) -> Option<u32> {
    name.split('_').nth(1)?.parse().ok()
}

/// The number of the migration that a program must have to be compatible with this one.
pub fn required_migration(name: &str) -> Option<u32> {
    name.rsplit_once(NEEDS)?.1.parse().ok()
}

/// Why the schema of a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is behind the program, and was not to be migrated.
    #[error(
        "the schema is behind this program, {VERSION}: {} missing ({}); run `concord migrate`",
        Migrations(.0.len()), .0.join(", ")
    )]
    Behind(Vec<String>),
    /// The schema is ahead of the program, and incompatible.
    #[error(
        "the schema is ahead of this program, {VERSION}, and incompatible migrations were applied: \
         {}; run the newer program, or restore a backup from before",
        .0.join(", ")
    )]
    TooNew(Vec<String>),
    /// The schema and the program have diverged.
    #[error(
        "the schema and this program, {VERSION}, have diverged: the schema lacks {}, and has {}, \
         which this program lacks; run a program that has both",
        .pending.join(", "), .newer.join(", ")
    )]
    Diverged {
        /// In the program only.
        pending: Vec<String>,
        /// Applied to the database only.
        newer: Vec<String>,
    },
    /// The server is not supported.
    #[error(transparent)]
    UnsupportedServer(#[from] super::UnsupportedServer),
    /// The database cannot be reached, or returned an error.
    #[error(transparent)]
    Database(#[from] sea_orm::DbErr),
}

/// The version of the program, which all packages share.
const VERSION: &str = env!("CARGO_PKG_VERSION");

struct Migrations(usize);

impl fmt::Display for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("one migration is"),
            count => write!(f, "{count} migrations are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const OLD: &[&str] = &["m20261120_01_records", "m20261121_02_feed"];

    #[test]
    fn schema_behind_program_has_pending_migrations() {
        let status = MigrationStatus::of(&names(OLD), &names(&OLD[..1]));
        assert_eq!(status.pending, names(&OLD[1..]));
        assert!(status.newer.is_empty() && status.incompatible.is_empty());
    }

    #[test]
    fn additive_migration_is_backward_compatible() {
        let applied = names(&[OLD[0], OLD[1], "m20270101_03_nickname"]);
        let status = MigrationStatus::of(&names(OLD), &applied);
        assert_eq!(status.newer, names(&["m20270101_03_nickname"]));
        assert!(status.pending.is_empty() && status.incompatible.is_empty());
    }

    #[test]
    fn contracting_migration_is_incompatible_without_required_one() {
        let contract = "m20270301_04_drop_nickname_needs_03";
        let applied = names(&[OLD[0], OLD[1], "m20270201_03_nickname_unused", contract]);
        assert_eq!(MigrationStatus::of(&names(OLD), &applied).incompatible, names(&[contract]));
        let status = MigrationStatus::of(&applied[..3], &applied);
        assert_eq!(status.newer, names(&[contract]));
        assert!(status.incompatible.is_empty());
    }
}
