//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use crate::{
    databases::Engine,
    measure::Plan,
    rows::{Extent, Row},
};

/// Measures Concord beside its yardsticks: ratios, and whether they meet their
/// targets.
#[derive(Debug, Parser)]
#[command(name = "concord-bench", version)]
pub(crate) struct Cli {
    /// The rows to measure; all without it
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
    /// Short turns: enough to see that it works, and large differences
    #[arg(long)]
    quick: bool,
    /// How often each figure and its yardstick take turns
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Only on this database; on both without it
    #[arg(long, value_name = "NAME")]
    database: Option<Engine>,
    /// What `growth` compares, from the smallest on: each so many CLIENTS of one
    /// practice, or as `PRACTICESxCLIENTS`
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    sizes: Vec<Extent>,
    /// Report in JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Be a service: what this program runs as for those that have a process of
    /// their own
    #[arg(long, value_name = "JSON", hide = true)]
    pub(crate) serve: Option<String>,
}

impl Cli {
    /// Each once, in the order of the table.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let wanted = |row: &&Row| self.rows.is_empty() || self.rows.contains(row);
        Row::value_variants().iter().filter(wanted).copied().collect()
    }

    pub(crate) fn engines(&self) -> Vec<Engine> {
        self.database.map_or_else(|| Engine::value_variants().to_vec(), |engine| vec![engine])
    }

    pub(crate) fn plan(&self) -> Plan {
        let (rounds, turn, warm_up, clients, imported) = if self.quick {
            (3, 1_000, 500, 200, 20_000)
        } else {
            (5, 4_000, 1_000, 2_000, 100_000)
        };
        Plan {
            quick: self.quick,
            rounds: self.rounds.unwrap_or(rounds),
            turn: Duration::from_millis(turn),
            warm_up: Duration::from_millis(warm_up),
            clients,
            imported,
            sizes: self.sizes(),
        }
    }

    /// One practice that grows; then one practice, and many that are as large
    /// together.
    fn sizes(&self) -> Vec<Vec<Extent>> {
        if !self.sizes.is_empty() {
            return vec![self.sizes.clone()];
        }
        let (sizes, one, many) = if self.quick {
            (vec![1_000, 10_000], 1_000, Extent { practices: 50, clients: 20 })
        } else {
            let many = Extent { practices: 1_000, clients: 100 };
            (vec![10_000, 100_000, 1_000_000], 100_000, many)
        };
        let sizes = sizes.into_iter().map(Extent::of_one).collect();
        vec![sizes, vec![Extent::of_one(one), many]]
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_is_measured_unless_rows_are_named() {
        let rows = |arguments: &[&str]| Cli::try_parse_from(arguments).map(|cli| cli.rows());
        assert_eq!(rows(&["concord-bench"]).unwrap(), Row::value_variants());
        let twice = ["concord-bench", "get-client", "get-client"];
        assert_eq!(rows(&twice).unwrap(), [Row::GetClient]);
        assert!(rows(&["concord-bench", "get-clients"]).is_err());
    }
}
