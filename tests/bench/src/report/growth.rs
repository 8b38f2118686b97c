//! The growth of costs with size: a table with one column for each size.

use serde::Serialize;

use super::{in_parts, markdown};
use crate::{databases::Engine, measure::Spread};

/// The growth of a cost from the smallest to the largest size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Growth {
    pub(crate) row: &'static str,
    pub(crate) database: Engine,
    /// The subject, such as `GetClient`.
    pub(crate) of: String,
    /// The unit, such as `ms`.
    pub(crate) unit: &'static str,
    /// The cost at each size, in ascending order.
    pub(crate) costs: Vec<Cost>,
    /// The ratio of the cost at the last size to that at the first, of the rounds.
    pub(crate) factor: Spread,
    /// Maximum factor.
    pub(crate) target: Option<f64>,
}

/// The cost at one size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    /// The size.
    pub(crate) at: String,
    /// The median latency, or the quantity, of the rounds.
    pub(crate) figure: Spread,
    /// The 99th percentile of all rounds, for latencies.
    pub(crate) p99: Option<f64>,
}

impl Growth {
    pub(super) fn met(&self) -> bool {
        self.target.is_none_or(|target| self.factor.median <= target)
    }

    fn sizes(&self) -> Vec<String> {
        self.costs.iter().map(|cost| cost.at.clone()).collect()
    }

    fn cells(&self) -> Vec<String> {
        let latencies = self.costs.iter().any(|cost| cost.p99.is_some());
        let unit = if latencies { "p50, p99 " } else { "" };
        let of = format!("{}: {unit}{}", self.of, self.unit);
        let target = self
            .target
            .map(|target| format!("≤ {target}: {}", if self.met() { "met" } else { "not met" }));
        let mut cells = vec![self.row.to_owned(), self.database.to_string(), of];
        cells.extend(self.costs.iter().map(Cost::cell));
        cells.extend([in_parts(self.factor), target.unwrap_or_default()]);
        cells
    }
}

impl Cost {
    fn cell(&self) -> String {
        let one = |value: f64| match value {
            ..10.0 => format!("{value:.2}"),
            ..100.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        };
        let figure = one(self.figure.median);
        self.p99.map_or_else(|| figure.clone(), |p99| format!("{figure}, {}", one(p99)))
    }
}

/// A table for each list of sizes.
pub(super) fn tables(growths: &[&Growth]) -> Vec<String> {
    let mut lists: Vec<Vec<String>> = Vec::new();
    for growth in growths {
        if !lists.contains(&growth.sizes()) {
            lists.push(growth.sizes());
        }
    }
    let table = |sizes: Vec<String>| {
        let lines = growths.iter().filter(|growth| growth.sizes() == sizes);
        let lines = lines.map(|growth| growth.cells()).collect();
        let mut headings = ["Row", "Database", "Of"].map(ToOwned::to_owned).to_vec();
        headings.extend(sizes);
        headings.extend(["Growth", "Target"].map(ToOwned::to_owned));
        markdown(headings, lines)
    };
    lists.into_iter().filter_map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(sizes: &[&str], median: f64) -> Growth {
        let figure = Spread { median: 1.5, min: 1.0, max: 2.0 };
        let cost = |at: &&str| Cost { at: (*at).to_owned(), figure, p99: Some(12.34) };
        Growth {
            row: "growth",
            database: Engine::Sqlite,
            of: "GetClient".to_owned(),
            unit: "ms",
            costs: sizes.iter().map(cost).collect(),
            factor: Spread { median, min: 1.0, max: 3.0 },
            target: Some(1.3),
        }
    }

    #[test]
    fn each_list_of_sizes_has_a_table() {
        let growths =
            [growth(&["10", "100"], 1.3), growth(&["10", "100"], 1.31), growth(&["5 × 2"], 1.0)];
        let tables = tables(&growths.each_ref());
        assert_eq!(tables.len(), 2);
        assert!(tables[0].contains("| 10         | 100        | Growth"), "{}", tables[0]);
        assert!(tables[0].contains("| 1.50, 12.3 | 1.50, 12.3 |"), "{}", tables[0]);
        assert!(tables[0].contains("1.30 (1.00–3.00) | ≤ 1.3: met"), "{}", tables[0]);
        assert!(tables[0].contains("≤ 1.3: not met"), "{}", tables[0]);
    }
}
