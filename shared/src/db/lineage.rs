//! Which migrations a database has had, beside those that a program knows.
//!
//! While replicas of two versions run, the older one meets tables that are newer
//! than itself. That is well as long as every migration is one that it survives. A
//! migration that takes something away says in its name whom: the program has to
//! know the migration of that number, as in `m20270301_09_drop_nickname_needs_07`.

use std::fmt;

/// Before the number of the migration that a program has to know.
const NEEDS: &str = "_needs_";

/// How a database stands beside a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Known to the program, and not in the database: it is older.
    pub pending: Vec<String>,
    /// In the database, and not known to the program: it is newer.
    pub newer: Vec<String>,
    /// Those of the newer that the program does not survive.
    pub unbearable: Vec<String>,
}

impl Lineage {
    /// Compares the migrations that a program knows with those that were applied.
    pub fn of(known: &[String], applied: &[String]) -> Self {
        let missing = |of: &[String], from: &[String]| -> Vec<String> {
            of.iter().filter(|name| !from.contains(name)).cloned().collect()
        };
        let newest = known.iter().filter_map(|name| number(name)).max().unwrap_or_default();
        let newer = missing(applied, known);
        let unbearable =
            newer.iter().filter(|name| needs(name).is_some_and(|needed| needed > newest));
        let unbearable = unbearable.cloned().collect();
        Self { pending: missing(known, applied), newer, unbearable }
    }
}

/// The number in the name of a migration: 3 of `m20261120_03_whole`.
pub fn number(name: &str) -> Option<u32> {
    name.split('_').nth(1)?.parse().ok()
}

/// The migration that a program has to know to survive this one.
pub fn needs(name: &str) -> Option<u32> {
    name.rsplit_once(NEEDS)?.1.parse().ok()
}

/// Why a database cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The tables lack something, and were not to be touched.
    #[error(
        "the tables are older than this program, {VERSION}: {} missing ({}); run `concord migrate`",
        Migrations(.0.len()), .0.join(", ")
    )]
    Behind(Vec<String>),
    /// A newer program has taken something away that this one needs.
    #[error(
        "the tables belong to a newer program than this one, {VERSION}: it cannot work with {}; \
         run the newer program, or restore a backup from before",
        .0.join(", ")
    )]
    TooNew(Vec<String>),
    /// Neither is older than the other.
    #[error(
        "the tables and this program, {VERSION}, have gone different ways: the tables lack {}, and \
         have had {}, which this program does not know; run the program that knows both",
        .pending.join(", "), .newer.join(", ")
    )]
    Apart {
        /// Known to the program alone.
        pending: Vec<String>,
        /// Known to the database alone.
        newer: Vec<String>,
    },
    /// The server is none that a service can work on.
    #[error(transparent)]
    Unfit(#[from] super::Unfit),
    /// The database cannot be reached, or refuses.
    #[error(transparent)]
    Database(#[from] sea_orm::DbErr),
}

/// Of the program: all its packages have one.
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
    fn a_program_that_is_newer_than_its_tables_has_something_to_do() {
        let lineage = Lineage::of(&names(OLD), &names(&OLD[..1]));
        assert_eq!(lineage.pending, names(&OLD[1..]));
        assert!(lineage.newer.is_empty() && lineage.unbearable.is_empty());
    }

    #[test]
    fn tables_that_were_only_added_to_bear_the_previous_program() {
        let applied = names(&[OLD[0], OLD[1], "m20270101_03_nickname"]);
        let lineage = Lineage::of(&names(OLD), &applied);
        assert_eq!(lineage.newer, names(&["m20270101_03_nickname"]));
        assert!(lineage.pending.is_empty() && lineage.unbearable.is_empty());
    }

    #[test]
    fn what_was_taken_away_is_borne_by_those_alone_that_do_without() {
        let contract = "m20270301_04_drop_nickname_needs_03";
        let applied = names(&[OLD[0], OLD[1], "m20270201_03_nickname_unused", contract]);
        assert_eq!(Lineage::of(&names(OLD), &applied).unbearable, names(&[contract]));
        let lineage = Lineage::of(&applied[..3], &applied);
        assert_eq!(lineage.newer, names(&[contract]));
        assert!(lineage.unbearable.is_empty());
    }
}
