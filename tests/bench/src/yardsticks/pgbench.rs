//! pgbench with the statements of a call in one transaction, with the prepared protocol.
//!
//! Every value is sent as a parameter, as in the service. Unique values are derived from an
//! increasing number, so that they reach the indexes in the same order as the ids of the
//! service. The functions that convert the number to a UUID cost the yardstick some
//! microseconds.

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
    statements::{Step, Template, TemplateValue, TextPart},
};

/// The number from which unique values are derived. A call may use this many consecutive
/// numbers.
const NUMBER: &str = ":number::bigint";
const NUMBERS_OF_CALL: u64 = 100;

/// Numbers of one run: more than it can use.
const NUMBERS_OF_RUN: u64 = 1_000_000_000_000;

/// Maximum number of clients of one run. Each has its own numbers.
const CLIENTS: u64 = 64;

/// Maximum number of threads of pgbench.
const THREADS: usize = 2;

/// A script, and the constant values of its variables.
#[derive(Debug)]
pub(crate) struct Pgbench {
    folder: TempDir,
    schema: String,
    variables: Vec<(String, String)>,
    runs: u64,
}

impl Pgbench {
    /// Writes the script. `schema` has the tables, and no other script writes to them.
    pub(crate) fn new(schema: &str, template: &Template) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("concord-bench-script.").tempdir()?;
        let mut script = Script::default();
        script.write(template)?;
        fs::write(folder.path().join("script.sql"), &script.text)?;
        let Script { variables, .. } = script;
        Ok(Self { folder, schema: schema.to_owned(), variables, runs: 0 })
    }

    /// Runs the script for `time`, with `in_flight` concurrent transactions.
    pub(crate) async fn turn(
        &mut self,
        cluster: &Cluster,
        in_flight: usize,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        self.runs += 1;
        let mut pgbench = cluster.client("pgbench", &self.schema);
        // The transaction log is written next to the script.
        pgbench.current_dir(self.folder.path());
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--file=script.sql", "--log"]);
        pgbench.args(["--log-prefix=log", "-c", &in_flight.to_string()]);
        pgbench.args(["-j", &in_flight.min(THREADS).to_string()]);
        pgbench.args(["-T", &time.as_secs().max(1).to_string()]);
        for (name, value) in &self.variables {
            pgbench.args(["-D", &format!("{name}={value}")]);
        }
        pgbench.args(["-D", "calls=0", "-D", &format!("run={}", self.runs * NUMBERS_OF_RUN)]);
        let output = tokio::task::spawn_blocking(move || run(&mut pgbench)).await??;
        let rate = rate(&output).with_context(|| format!("pgbench reports no rate: {output}"))?;
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

/// Transactions per second, without the time for connecting.
fn rate(output: &str) -> Option<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads the transaction log (the third word is the latency) and removes it.
fn take_log(folder: &Path) -> anyhow::Result<Histogram<u64>> {
    let mut latency = new_histogram()?;
    for file in fs::read_dir(folder)? {
        let file = file?;
        if !file.file_name().to_string_lossy().starts_with("log.") {
            continue;
        }
        for line in fs::read_to_string(file.path())?.lines() {
            let micros = line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
            latency.saturating_record(micros.context("the log of pgbench has an unknown format")?);
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

    /// The statement with expressions in place of its parameters.
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

    fn expression(&mut self, value: &TemplateValue) -> anyhow::Result<String> {
        Ok(match value {
            TemplateValue::Fixed(value) => self.fixed(value)?,
            TemplateValue::Id(index) => format!("{}::uuid", id(*index)),
            TemplateValue::Text(parts) => {
                let parts = parts.iter().map(|part| match part {
                    TextPart::Plain(text) => self.variable(text.clone(), "text"),
                    TextPart::Id { index, form } if form.hyphens => {
                        format!("{}::uuid::text", id(*index))
                    }
                    TextPart::Id { index, .. } => id(*index),
                    TextPart::Digits => {
                        format!("lpad(mod({NUMBER} / {NUMBERS_OF_CALL}, 100000000)::text, 8, '0')")
                    }
                });
                format!("({})", parts.collect::<Vec<_>>().join(" || "))
            }
            // The statement has the type.
            TemplateValue::List(_, values) => {
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
            // The value of LIMIT, which is a bigint in PostgreSQL.
            Value::BigUnsigned(value) => (value.map(|value| value.to_string()), "bigint"),
            Value::String(value) => (value.clone(), "text"),
            Value::Bytes(value) => (value.as_deref().map(hexadecimal), "bytea"),
            Value::Uuid(value) => (value.map(|value| value.to_string()), "uuid"),
            Value::ChronoDate(value) => (value.map(|value| value.to_string()), "date"),
            Value::ChronoDateTimeUtc(value) => {
                (value.map(|value| value.to_rfc3339()), "timestamptz")
            }
            other => bail!("pgbench cannot send {other:?}"),
        };
        Ok(text.map_or(format!("NULL::{of_type}"), |text| self.variable(text, of_type)))
    }

    /// A variable with a constant value. pgbench cannot send an empty one.
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

/// The expression for the digits of a unique UUID.
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
    fn rate_excludes_the_connection_time() {
        let output = "latency average = 1.2 ms\ntps = 812.5 (without initial connection time)\n";
        assert_eq!(rate(output), Some(812.5));
    }

    #[test]
    fn bytes_use_the_hex_format_of_postgresql() {
        assert_eq!(hexadecimal(&[0, 0xab]), "\\x00ab");
    }
}
