//! Services in separate processes, as in production: their memory can be measured, and the
//! load generator does not share their runtime.
//!
//! The process is this program with a hidden option. It prints the URL of the service, and
//! ends when its standard input closes, so that no process outlives the benchmark.

use std::{
    io::{self, Read as _},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use chrono_tz::Tz;
use concord_core::clock::Clock;
use imports::ImportsConfig;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use crate::{databases::DatabaseLocation, output, service::records_config};

/// The service that a process runs.
#[derive(Debug, Serialize, Deserialize)]
enum ServiceSpec {
    Records { database: DatabaseLocation },
    Imports { database: DatabaseLocation, records_url: String },
}

/// A service in a separate process. It is stopped with the value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    url: String,
}

impl Process {
    /// Starts a records service.
    pub(crate) async fn records(database: DatabaseLocation) -> anyhow::Result<Self> {
        Self::start(&ServiceSpec::Records { database }).await
    }

    /// Starts an imports service for the records service at `records_url`.
    pub(crate) async fn imports(
        database: DatabaseLocation,
        records_url: &str,
    ) -> anyhow::Result<Self> {
        Self::start(&ServiceSpec::Imports { database, records_url: records_url.to_owned() }).await
    }

    async fn start(spec: &ServiceSpec) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve").arg(serde_json::to_string(spec)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start a service")?;
        let stdout = child.stdout.take().context("a service has no output")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url).await?;
        if url.is_empty() {
            bail!("a service ended before it was ready");
        }
        Ok(Self { child, url: url.trim_end().to_owned() })
    }

    /// The URL of the service.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The current resident memory, in bytes.
    pub(crate) async fn resident(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:").await
    }

    /// The peak resident memory since the start, in bytes.
    pub(crate) async fn peak(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:").await
    }

    async fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let id = self.child.id().context("a service has ended")?;
        let status = tokio::fs::read_to_string(format!("/proc/{id}/status")).await;
        let status = status.context("memory is measured on Linux only")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        let kilobytes: u64 = kilobytes.context("no memory figure")?.parse()?;
        Ok(kilobytes * 1_024)
    }

    /// Stops the service gracefully.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { bail!("a service ended with {status}") }
    }
}

/// Runs a service until standard input closes.
pub(crate) async fn serve(what: &str) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    // A thread, because the end of the process does not wait for it.
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        stopping.cancel();
    });
    match serde_json::from_str(what)? {
        ServiceSpec::Records { database } => {
            let config = records_config(database.settings());
            let service = records::Application::build(config).await?;
            output::line(format_args!("http://{}", service.address()))?;
            Ok(service.run_until(stop).await?)
        }
        ServiceSpec::Imports { database, records_url } => {
            let (listen, clock) = (([127, 0, 0, 1], 0).into(), Clock::system(Tz::Europe__London));
            let mut config = ImportsConfig::new(listen, database.settings(), records_url, clock);
            config.limits.requests_per_second = 0;
            let service = imports::Application::build(config).await?;
            output::line(format_args!("http://{}", service.address()))?;
            Ok(service.run_until(stop).await?)
        }
    }
}
