//! The report: Markdown tables, or JSON.

mod growth;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::growth::{Cost, Growth};

use crate::{
    databases::Engine,
    measure::{Compared, Plan, Series, Spread, milliseconds},
};

/// The result of a measurement.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Measurement {
    /// A figure compared with its yardstick.
    Ratio(Line),
    /// A latency, without a yardstick.
    Time(Time),
    /// A quantity with bounds.
    Figure(Figure),
    /// How a cost grows with size.
    Growth(Growth),
}

impl Measurement {
    fn met(&self) -> bool {
        match self {
            Self::Ratio(line) => line.met(),
            Self::Time(time) => time.met(),
            Self::Figure(figure) => figure.targets.iter().all(|target| figure.meets(*target)),
            Self::Growth(growth) => growth.met(),
        }
    }
}

/// A quantity, with an optional yardstick.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the figure, as opposed to the yardstick")]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) database: Engine,
    /// The subject, such as `an import of 100000 records`.
    pub(crate) of: String,
    /// The unit, such as `records/s`.
    pub(crate) unit: &'static str,
    pub(crate) figure: Spread,
    pub(crate) yardstick: Option<YardstickResult>,
    /// The targets; empty if the figure is only reported.
    pub(crate) targets: Vec<Target>,
}

/// The result of the yardstick of a quantity.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct YardstickResult {
    pub(crate) name: &'static str,
    pub(crate) figure: Spread,
    /// The ratio of the quantity to the yardstick, of the turns of each round.
    pub(crate) ratio: Spread,
}

/// A target of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// Minimum ratio to the yardstick.
    Ratio(f64),
    /// Minimum quantity.
    AtLeast(f64),
    /// Maximum quantity.
    AtMost(f64),
}

impl Figure {
    fn meets(&self, target: Target) -> bool {
        let ratio = self.yardstick.as_ref().map(|yardstick| yardstick.ratio.median);
        match target {
            Target::Ratio(min) => ratio.is_some_and(|ratio| ratio >= min),
            Target::AtLeast(min) => self.figure.median >= min,
            Target::AtMost(max) => self.figure.median <= max,
        }
    }

    fn describe(&self, target: Target) -> String {
        let met = if self.meets(target) { "met" } else { "not met" };
        match target {
            Target::Ratio(min) => format!("ratio ≥ {min}: {met}"),
            Target::AtLeast(min) => format!("≥ {min}: {met}"),
            Target::AtMost(max) => format!("≤ {max}: {met}"),
        }
    }

    fn cells(&self) -> [String; 7] {
        let targets: Vec<String> =
            self.targets.iter().map(|target| self.describe(*target)).collect();
        let yardstick = self.yardstick.as_ref().map(|yardstick| {
            let YardstickResult { name, figure, ratio } = yardstick;
            (format!("{name}: {}", spread(*figure)), in_parts(*ratio))
        });
        let (yardstick, ratio) = yardstick.unwrap_or_default();
        [
            self.row.to_owned(),
            self.database.to_string(),
            self.of.clone(),
            format!("{} {}", spread(self.figure), self.unit),
            yardstick,
            ratio,
            targets.join("; "),
        ]
    }
}

/// Median and range: whole numbers, or two digits below 10.
fn spread(Spread { median, min, max }: Spread) -> String {
    let digits = if median < 10.0 { 2 } else { 0 };
    let one = |value: f64| format!("{value:.digits$}");
    // A single value has no range.
    let (median, min, max) = (one(median), one(min), one(max));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

fn in_parts(Spread { median, min, max }: Spread) -> String {
    format!("{median:.2} ({min:.2}–{max:.2})")
}

/// A latency.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    pub(crate) row: &'static str,
    pub(crate) database: Engine,
    /// The load during the measurement.
    pub(crate) beside: String,
    /// Number of samples.
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Maximum of the 99th percentile; `None` if the latency is only reported.
    pub(crate) target_ms: Option<f64>,
}

impl Time {
    /// The summary of latencies in microseconds.
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
    /// Statements of one call, without BEGIN and COMMIT.
    pub(crate) statements: usize,
    pub(crate) yardstick_name: &'static str,
    #[serde(flatten)]
    pub(crate) compared: Compared,
    /// Minimum ratio.
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

/// The report as tables: medians with minimum and maximum in brackets.
pub(crate) fn table(measurements: &[Measurement]) -> String {
    let (mut ratios, mut times, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    let mut growths = Vec::new();
    for measurement in measurements {
        match measurement {
            Measurement::Ratio(line) => ratios.push(line.cells()),
            Measurement::Time(time) => times.push(time.cells()),
            Measurement::Figure(figure) => figures.push(figure.cells()),
            Measurement::Growth(growth) => growths.push(growth),
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

/// A table with aligned columns; `None` without rows.
fn aligned<const N: usize>(headings: [&str; N], lines: Vec<[String; N]>) -> Option<String> {
    let lines = lines.into_iter().map(Vec::from).collect();
    markdown(headings.map(ToOwned::to_owned).into(), lines)
}

/// A Markdown table with aligned columns; `None` without rows.
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

/// The report as JSON.
pub(crate) fn json(plan: &Plan, lines: &[Measurement]) -> anyhow::Result<String> {
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

    fn line(ratio: f64) -> Measurement {
        let spread = |median| Spread { median, min: median - 0.1, max: median + 0.1 };
        let series = Series { per_second: spread(1_000.0), p50_ms: 1.5, p99_ms: 3.25 };
        Measurement::Ratio(Line {
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
    fn line_reports_whether_its_target_is_met() {
        assert!(table(&[line(0.5)]).contains("≥ 0.5: met"));
        assert!(table(&[line(0.49)]).contains("≥ 0.5: not met"));
        assert!(table(&[line(0.5)]).contains("0.50 (0.40–0.60)"));
    }

    #[test]
    fn table_columns_are_aligned() {
        let table = table(&[line(0.5), line(12.5)]);
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 4);
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }

    #[test]
    fn times_have_a_separate_table() {
        let time = |target_ms| {
            Measurement::Time(Time {
                row: "delivery",
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
        assert!(!table(&[time(None)]).contains("met"), "no target, no verdict");
    }

    #[test]
    fn figure_reports_which_targets_are_met() {
        let spread = |median| Spread { median, min: median, max: median };
        let figure = Figure {
            row: "import",
            database: Engine::Postgres,
            of: "100000 records".to_owned(),
            unit: "records/s",
            figure: spread(12_000.0),
            yardstick: Some(YardstickResult {
                name: "COPY",
                figure: spread(48_000.0),
                ratio: spread(0.25),
            }),
            targets: vec![Target::Ratio(0.3), Target::AtLeast(10_000.0), Target::AtMost(1.0)],
        };
        let table = table(&[Measurement::Figure(figure)]);
        assert!(table.contains("ratio ≥ 0.3: not met; ≥ 10000: met; ≤ 1: not met"), "{table}");
        assert!(table.contains("| 12000 records/s | COPY: 48000 | 0.25 (0.25–0.25) |"), "{table}");
    }

    #[test]
    fn json_flattens_the_figures() {
        let plan = Plan { rounds: 3, turn: std::time::Duration::from_secs(1), ..Plan::default() };
        let report: serde_json::Value =
            serde_json::from_str(&json(&plan, &[line(0.6)]).unwrap()).unwrap();
        assert_eq!(report["rows"][0]["database"], "sqlite");
        assert_eq!(report["rows"][0]["met"], true);
        assert_eq!(report["rows"][0]["figure"]["p99_ms"], 3.25);
    }
}
