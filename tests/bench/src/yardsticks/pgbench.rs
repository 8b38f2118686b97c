//! PostgreSQL's own benchmark with the statements of a call in one transaction,
//! by the prepared protocol.
//!
//! Every value is sent as a parameter, as the service sends it. What is new in a
//! call is made from a number that rises, so that it meets the indexes in the
//! order of the service's own ids; the two or three functions that turn it into a
//! UUID are the server's work, and the yardstick's loss, by microseconds.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use sea_orm::Value;
use tempfile::TempDir;

use crate::{
    measure::{Sample, new_histogram},
    postgres::Cluster,
    statements::{Open, Piece, Step, Template},
};

/// What is new in a call is made from this number, of which a call may use so
/// many that follow it.
const NUMBER: &str = ":number::bigint";
const NUMBERS_OF_CALL: u64 = 100;

/// Numbers of one run: beyond what it can use.
const NUMBERS_OF_RUN: u64 = 1_000_000_000_000;

/// Clients of one run at most, for numbers that no two of them share.
const CLIENTS: u64 = 64;

/// Threads of pgbench at most.
const THREADS: usize = 2;

/// A script, and the values that it sends with every call.
#[derive(Debug)]
pub(crate) struct Pgbench {
    folder: TempDir,
    schema: String,
    variables: Vec<(String, String)>,
    runs: u64,
}

impl Pgbench {
    /// Writes the script. `schema` has the tables already, and no other script
    /// writes into them.
    pub(crate) fn new(schema: &str, template: &Template) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("concord-bench-script.").tempdir()?;
        let mut script = Script::default();
        script.write(template)?;
        fs::write(folder.path().join("script.sql"), &script.text)?;
        let Script { variables, .. } = script;
        Ok(Self { folder, schema: schema.to_owned(), variables, runs: 0 })
    }

    /// Runs the script for so long, with so many transactions in flight.
    pub(crate) async fn turn(
        &mut self,
        cluster: &Cluster,
        in_flight: usize,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        self.runs += 1;
        let mut pgbench = cluster.client("pgbench", &self.schema);
        // A log of each transaction beside the script.
        pgbench.current_dir(self.folder.path());
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--file=script.sql", "--log"]);
        pgbench.args(["--log-prefix=log", "-c", &in_flight.to_string()]);
        pgbench.args(["-j", &in_flight.min(THREADS).to_string()]);
        pgbench.args(["-T", &time.as_secs().max(1).to_string()]);
        for (name, value) in &self.variables {
            pgbench.args(["-D", &format!("{name}={value}")]);
        }
        pgbench.args(["-D", "calls=0", "-D", &format!("run={}", self.runs * NUMBERS_OF_RUN)]);
        let said = tokio::task::spawn_blocking(move || run(&mut pgbench)).await??;
        let rate = rate(&said).with_context(|| format!("pgbench says no rate: {said}"))?;
        let latency = take_log(self.folder.path())?;
        #[expect(clippy::cast_precision_loss, reason = "transactions of seconds")]
        let elapsed = Duration::from_secs_f64(latency.len() as f64 / rate);
        Ok(Sample::new(latency, elapsed))
    }
}

fn run(pgbench: &mut Command) -> anyhow::Result<String> {
    let output = pgbench.stdin(Stdio::null()).output().context("cannot run pgbench")?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    bail!("pgbench ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// Transactions a second, without the time that connecting took.
fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads the log of each transaction (its third word is the latency), and
/// removes it.
fn take_log(folder: &Path) -> anyhow::Result<Histogram<u64>> {
    let mut latency = new_histogram()?;
    for file in fs::read_dir(folder)? {
        let file = file?;
        if !file.file_name().to_string_lossy().starts_with("log.") {
            continue;
        }
        for line in fs::read_to_string(file.path())?.lines() {
            let micros = line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
            latency.saturating_record(micros.context("pgbench writes another log")?);
        }
        fs::remove_file(file.path())?;
    }
    Ok(latency)
}

#[derive(Debug, Default)]
struct Script {
    text: String,
    variables: Vec<(String, String)>,
}

impl Script {
    fn write(&mut self, template: &Template) -> anyhow::Result<()> {
        writeln!(self.text, "\\set calls :calls + 1")?;
        writeln!(
            self.text,
            "\\set number :run + (:calls * {CLIENTS} + :client_id) * {NUMBERS_OF_CALL}"
        )?;
        writeln!(self.text, "BEGIN;")?;
        for step in &template.steps {
            let sql = self.sql(step)?;
            writeln!(self.text, "{sql} ;")?;
        }
        writeln!(self.text, "COMMIT;")?;
        Ok(())
    }

    /// The statement with expressions in the place of its parameters.
    fn sql(&mut self, step: &Step) -> anyhow::Result<String> {
        let mut parts = step.sql.split('$');
        let mut sql = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            let (parameter, rest) = part.split_at(digits);
            let index = parameter.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            let value = index.and_then(|index| step.values.get(index));
            let value = value.with_context(|| format!("no value for ${parameter}"))?;
            sql.push_str(&self.expression(value)?);
            sql.push_str(rest);
        }
        Ok(sql.replace('\n', " "))
    }

    fn expression(&mut self, value: &Open) -> anyhow::Result<String> {
        Ok(match value {
            Open::Fixed(value) => self.fixed(value)?,
            Open::Id(index) => format!("{}::uuid", id(*index)),
            Open::Text(pieces) => {
                let pieces = pieces.iter().map(|piece| match piece {
                    Piece::Plain(text) => self.variable(text.clone(), "text"),
                    Piece::Id { index, form } if form.hyphens => {
                        format!("{}::uuid::text", id(*index))
                    }
                    Piece::Id { index, .. } => id(*index),
                    Piece::Digits => {
                        format!("lpad(mod({NUMBER} / {NUMBERS_OF_CALL}, 100000000)::text, 8, '0')")
                    }
                });
                format!("({})", pieces.collect::<Vec<_>>().join(" || "))
            }
            // Its type stands in the statement.
            Open::List(_, values) => {
                let values = values.iter().map(|value| self.expression(value));
                format!("ARRAY[{}]", values.collect::<anyhow::Result<Vec<_>>>()?.join(", "))
            }
        })
    }

    fn fixed(&mut self, value: &Value) -> anyhow::Result<String> {
        let (text, of_type) = match value {
            Value::Bool(value) => (value.map(|value| value.to_string()), "boolean"),
            Value::Int(value) => (value.map(|value| value.to_string()), "integer"),
            Value::BigInt(value) => (value.map(|value| value.to_string()), "bigint"),
            // Of LIMIT, which PostgreSQL counts in bigint.
            Value::BigUnsigned(value) => (value.map(|value| value.to_string()), "bigint"),
            Value::String(value) => (value.clone(), "text"),
            Value::Bytes(value) => (value.as_deref().map(hexadecimal), "bytea"),
            Value::Uuid(value) => (value.map(|value| value.to_string()), "uuid"),
            Value::ChronoDate(value) => (value.map(|value| value.to_string()), "date"),
            Value::ChronoDateTimeUtc(value) => {
                (value.map(|value| value.to_rfc3339()), "timestamptz")
            }
            other => bail!("pgbench is not taught to send {other:?}"),
        };
        Ok(text.map_or(format!("NULL::{of_type}"), |text| self.variable(text, of_type)))
    }

    /// A value that is sent with every call; an empty one pgbench cannot send.
    fn variable(&mut self, value: String, of_type: &str) -> String {
        if value.is_empty() {
            return format!("''::{of_type}");
        }
        let name = format!("v{}", self.variables.len());
        let expression = format!(":{name}::{of_type}");
        self.variables.push((name, value));
        expression
    }
}

/// The digits of a new UUID, as text.
fn id(index: usize) -> String {
    format!("lpad(({NUMBER} + {index})::text, 32, '0')")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_without_the_time_of_connecting() {
        let said = "latency average = 1.2 ms\ntps = 812.5 (without initial connection time)\n";
        assert_eq!(rate(said), Some(812.5));
    }

    #[test]
    fn bytes_are_written_as_postgresql_reads_them() {
        assert_eq!(hexadecimal(&[0, 0xab]), "\\x00ab");
    }
}
