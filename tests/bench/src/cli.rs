//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use crate::{
    databases::Engine,
    measure::Plan,
    rows::{DatasetSize, Row},
};

/// Benchmarks Concord against yardsticks: reports ratios, and whether they meet their
/// targets
#[derive(Debug, Parser)]
#[command(name = "concord-bench", version)]
pub(crate) struct Cli {
    /// The rows to measure (default: all)
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
    /// Short turns: enough to check that it works, and to see large differences
    #[arg(long)]
    quick: bool,
    /// How often each figure and its yardstick are measured in turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// The database to measure on (default: both)
    #[arg(long, value_name = "NAME")]
    database: Option<Engine>,
    /// The sizes that `growth` compares, in ascending order: CLIENTS of one practice, or
    /// `PRACTICESxCLIENTS`
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    sizes: Vec<DatasetSize>,
    /// Report in JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Run as a service: how the benchmark starts a service in a separate process
    #[arg(long, value_name = "JSON", hide = true)]
    pub(crate) serve: Option<String>,
}

impl Cli {
    /// The selected rows, without duplicates, in the order of the table.
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

    /// The sizes to compare: one practice of growing size; then one practice and many
    /// practices of the same total size.
    fn sizes(&self) -> Vec<Vec<DatasetSize>> {
        if !self.sizes.is_empty() {
            return vec![self.sizes.clone()];
        }
        let (sizes, one, many) = if self.quick {
            (vec![1_000, 10_000], 1_000, DatasetSize { practices: 50, clients: 20 })
        } else {
            let many = DatasetSize { practices: 1_000, clients: 100 };
            (vec![10_000, 100_000, 1_000_000], 100_000, many)
        };
        let sizes = sizes.into_iter().map(DatasetSize::of_one).collect();
        vec![sizes, vec![DatasetSize::of_one(one), many]]
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_rows_are_measured_by_default() {
        let rows = |arguments: &[&str]| Cli::try_parse_from(arguments).map(|cli| cli.rows());
        assert_eq!(rows(&["concord-bench"]).unwrap(), Row::value_variants());
        let twice = ["concord-bench", "get-client", "get-client"];
        assert_eq!(rows(&twice).unwrap(), [Row::GetClient]);
        assert!(rows(&["concord-bench", "get-clients"]).is_err());
    }
}
