//! The report: a table for people, which is Markdown too, or JSON.

mod growth;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::growth::{Cost, Growth};

use crate::{
    databases::Engine,
    measure::{Compared, Plan, Series, Spread, milliseconds},
};

/// What a row has shown.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Finding {
    /// A figure beside its yardstick.
    Ratio(Line),
    /// How long something takes, which has no yardstick.
    Time(Time),
    /// A quantity with bounds.
    Figure(Figure),
    /// How a cost grows with size.
    Growth(Growth),
}

impl Finding {
    fn met(&self) -> bool {
        match self {
            Self::Ratio(line) => line.met(),
            Self::Time(time) => time.met(),
            Self::Figure(figure) => figure.targets.iter().all(|target| figure.meets(*target)),
            Self::Growth(growth) => growth.met(),
        }
    }
}

/// A quantity, beside its yardstick where there is one.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "of the two that are compared, it is the figure")]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) database: Engine,
    /// What of, such as `an import of 100000 records`.
    pub(crate) of: String,
    /// Such as `records/s`.
    pub(crate) unit: &'static str,
    pub(crate) figure: Spread,
    pub(crate) yardstick: Option<Standard>,
    /// What it is to reach; nothing where it is only told.
    pub(crate) targets: Vec<Target>,
}

/// What a quantity is measured beside.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Standard {
    pub(crate) name: &'static str,
    pub(crate) figure: Spread,
    /// Of the turns of each round: the quantity, in parts of the yardstick's.
    pub(crate) ratio: Spread,
}

/// What a quantity is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The ratio to the yardstick, this or more.
    Ratio(f64),
    /// The quantity, this or more.
    AtLeast(f64),
    /// The quantity, this or less.
    AtMost(f64),
}

impl Figure {
    fn meets(&self, target: Target) -> bool {
        let ratio = self.yardstick.as_ref().map(|yardstick| yardstick.ratio.median);
        match target {
            Target::Ratio(least) => ratio.is_some_and(|ratio| ratio >= least),
            Target::AtLeast(least) => self.figure.median >= least,
            Target::AtMost(most) => self.figure.median <= most,
        }
    }

    fn told(&self, target: Target) -> String {
        let met = if self.meets(target) { "met" } else { "not met" };
        match target {
            Target::Ratio(least) => format!("ratio ≥ {least}: {met}"),
            Target::AtLeast(least) => format!("≥ {least}: {met}"),
            Target::AtMost(most) => format!("≤ {most}: {met}"),
        }
    }

    fn cells(&self) -> [String; 7] {
        let targets: Vec<String> = self.targets.iter().map(|target| self.told(*target)).collect();
        let standard = self.yardstick.as_ref().map(|standard| {
            let Standard { name, figure, ratio } = standard;
            (format!("{name}: {}", spread(*figure)), in_parts(*ratio))
        });
        let (standard, ratio) = standard.unwrap_or_default();
        [
            self.row.to_owned(),
            self.database.to_string(),
            self.of.clone(),
            format!("{} {}", spread(self.figure), self.unit),
            standard,
            ratio,
            targets.join("; "),
        ]
    }
}

/// Whole numbers, but for small ones.
fn spread(Spread { median, min, max }: Spread) -> String {
    let digits = if median < 10.0 { 2 } else { 0 };
    let one = |value: f64| format!("{value:.digits$}");
    // One measurement has no spread.
    let (median, min, max) = (one(median), one(min), one(max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

fn in_parts(Spread { median, min, max }: Spread) -> String {
    format!("{median:.2} ({min:.2}–{max:.2})")
}

/// How long something takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    pub(crate) row: &'static str,
    pub(crate) database: Engine,
    /// What else was going on.
    pub(crate) beside: String,
    /// How many times were taken.
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// What the 99th percentile is not to exceed; nothing where it is only told.
    pub(crate) target_ms: Option<f64>,
}

impl Time {
    /// Of latencies in microseconds.
    pub(crate) fn of(
        row: &'static str,
        database: Engine,
        beside: String,
        latency: &Histogram<u64>,
        target_ms: Option<f64>,
    ) -> Self {
        Self {
            row,
            database,
            beside,
            count: latency.len(),
            p50_ms: milliseconds(latency.value_at_quantile(0.5)),
            p99_ms: milliseconds(latency.value_at_quantile(0.99)),
            max_ms: milliseconds(latency.max()),
            target_ms,
        }
    }

    fn met(&self) -> bool {
        self.target_ms.is_none_or(|target| self.p99_ms <= target)
    }

    fn cells(&self) -> [String; 7] {
        let met = if self.met() { "met" } else { "not met" };
        [
            self.row.to_owned(),
            self.database.to_string(),
            self.beside.clone(),
            self.count.to_string(),
            format!("{:.1}, {:.1}", self.p50_ms, self.p99_ms),
            format!("{:.1}", self.max_ms),
            self.target_ms.map(|target| format!("p99 ≤ {target}: {met}")).unwrap_or_default(),
        ]
    }
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) database: Engine,
    pub(crate) in_flight: usize,
    /// Statements of one call, beside BEGIN and COMMIT.
    pub(crate) statements: usize,
    pub(crate) yardstick_name: &'static str,
    #[serde(flatten)]
    pub(crate) compared: Compared,
    /// What the ratio is to reach.
    pub(crate) target: f64,
}

impl Line {
    fn met(&self) -> bool {
        self.compared.ratio.median >= self.target
    }

    fn cells(&self) -> [String; 11] {
        let Compared { figure, yardstick, ratio } = &self.compared;
        [
            self.row.to_owned(),
            self.database.to_string(),
            self.in_flight.to_string(),
            self.statements.to_string(),
            rate(figure),
            latency(figure),
            self.yardstick_name.to_owned(),
            rate(yardstick),
            latency(yardstick),
            in_parts(*ratio),
            format!("≥ {}: {}", self.target, if self.met() { "met" } else { "not met" }),
        ]
    }
}

const HEADINGS: [&str; 11] = [
    "Row",
    "Database",
    "In flight",
    "Statements",
    "Calls/s",
    "p50, p99 ms",
    "Yardstick",
    "Its calls/s",
    "p50, p99 ms",
    "Ratio",
    "Target",
];

fn rate(series: &Series) -> String {
    let rate = series.per_second;
    format!("{:.0} ({:.0}–{:.0})", rate.median, rate.min, rate.max)
}

fn latency(series: &Series) -> String {
    format!("{:.2}, {:.2}", series.p50_ms, series.p99_ms)
}

const TIME_HEADINGS: [&str; 7] =
    ["Row", "Database", "Beside it", "Times", "p50, p99 ms", "Longest ms", "Target"];

const FIGURE_HEADINGS: [&str; 7] =
    ["Row", "Database", "Of", "Figure", "Yardstick", "Ratio", "Target"];

/// Tables: medians, with the least and the greatest in brackets; and times.
pub(crate) fn table(findings: &[Finding]) -> String {
    let (mut ratios, mut times, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    let mut growths = Vec::new();
    for finding in findings {
        match finding {
            Finding::Ratio(line) => ratios.push(line.cells()),
            Finding::Time(time) => times.push(time.cells()),
            Finding::Figure(figure) => figures.push(figure.cells()),
            Finding::Growth(growth) => growths.push(growth),
        }
    }
    let tables = [
        aligned(HEADINGS, ratios),
        aligned(TIME_HEADINGS, times),
        aligned(FIGURE_HEADINGS, figures),
    ];
    let tables = tables.into_iter().flatten().chain(growth::tables(&growths));
    tables.collect::<Vec<_>>().join("\n\n")
}

/// A table whose columns are aligned; none without rows.
fn aligned<const N: usize>(headings: [&str; N], lines: Vec<[String; N]>) -> Option<String> {
    let lines = lines.into_iter().map(Vec::from).collect();
    markdown(headings.map(ToOwned::to_owned).into(), lines)
}

/// The same, of as many columns as there are headings.
fn markdown(headings: Vec<String>, lines: Vec<Vec<String>>) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let mut widths = vec![3; headings.len()];
    let mut rows = vec![headings];
    rows.extend(lines);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let pad = |row: &[String], fill: char| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let missing = width.saturating_sub(cell.chars().count());
            format!("{cell}{}", fill.to_string().repeat(missing))
        });
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text: Vec<String> = rows.iter().map(|row| pad(row, ' ')).collect();
    text.insert(1, pad(&vec![String::new(); widths.len()], '-'));
    Some(text.join("\n"))
}

/// All that is known, for a program.
pub(crate) fn json(plan: &Plan, lines: &[Finding]) -> anyhow::Result<String> {
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        let mut row = serde_json::to_value(line)?;
        if let Some(fields) = row.as_object_mut() {
            fields.insert("met".to_owned(), line.met().into());
        }
        rows.push(row);
    }
    let report =
        json!({ "rounds": plan.rounds, "turn_seconds": plan.turn.as_secs_f64(), "rows": rows });
    Ok(serde_json::to_string_pretty(&report)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ratio: f64) -> Finding {
        let spread = |median| Spread { median, min: median - 0.1, max: median + 0.1 };
        let series = Series { per_second: spread(1_000.0), p50_ms: 1.5, p99_ms: 3.25 };
        Finding::Ratio(Line {
            row: "get-client",
            database: Engine::Sqlite,
            in_flight: 16,
            statements: 2,
            yardstick_name: "echo",
            compared: Compared { figure: series.clone(), yardstick: series, ratio: spread(ratio) },
            target: 0.5,
        })
    }

    #[test]
    fn a_line_says_whether_its_target_is_met() {
        assert!(table(&[line(0.5)]).contains("≥ 0.5: met"));
        assert!(table(&[line(0.49)]).contains("≥ 0.5: not met"));
        assert!(table(&[line(0.5)]).contains("0.50 (0.40–0.60)"));
    }

    #[test]
    fn the_columns_of_a_table_are_aligned() {
        let table = table(&[line(0.5), line(12.5)]);
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 4);
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }

    #[test]
    fn times_have_a_table_of_their_own() {
        let time = |target_ms| {
            Finding::Time(Time {
                row: "hear",
                database: Engine::Sqlite,
                beside: "nothing".to_owned(),
                count: 1_000,
                p50_ms: 4.25,
                p99_ms: 50.5,
                max_ms: 60.0,
                target_ms,
            })
        };
        let both = table(&[line(0.5), time(Some(50.0))]);
        assert_eq!(both.split("\n\n").count(), 2);
        assert!(both.contains("p99 ≤ 50: not met"), "{both}");
        assert!(!table(&[time(None)]).contains("met"), "one without a target is only told");
    }

    #[test]
    fn a_quantity_says_which_of_its_targets_it_meets() {
        let spread = |median| Spread { median, min: median, max: median };
        let figure = Figure {
            row: "import",
            database: Engine::Postgres,
            of: "100000 records".to_owned(),
            unit: "records/s",
            figure: spread(12_000.0),
            yardstick: Some(Standard {
                name: "COPY",
                figure: spread(48_000.0),
                ratio: spread(0.25),
            }),
            targets: vec![Target::Ratio(0.3), Target::AtLeast(10_000.0), Target::AtMost(1.0)],
        };
        let table = table(&[Finding::Figure(figure)]);
        assert!(table.contains("ratio ≥ 0.3: not met; ≥ 10000: met; ≤ 1: not met"), "{table}");
        assert!(table.contains("| 12000 records/s | COPY: 48000 | 0.25 (0.25–0.25) |"), "{table}");
    }

    #[test]
    fn json_has_the_figures_flat() {
        let plan = Plan { rounds: 3, turn: std::time::Duration::from_secs(1), ..Plan::default() };
        let report: serde_json::Value =
            serde_json::from_str(&json(&plan, &[line(0.6)]).unwrap()).unwrap();
        assert_eq!(report["rows"][0]["database"], "sqlite");
        assert_eq!(report["rows"][0]["met"], true);
        assert_eq!(report["rows"][0]["figure"]["p99_ms"], 3.25);
    }
}
