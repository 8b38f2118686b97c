//! Services in processes of their own, as in production: their memory can be
//! measured, and the load does not share their runtime.
//!
//! The process is this program again, told by a hidden option to be a service. It
//! says where it listens, and ends with its standard input, so that none outlives
//! the measurement.

use std::{
    io::{self, Read as _},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use chrono_tz::Tz;
use imports::ImportsConfig;
use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use crate::{databases::Place, output, service::records_config};

/// What a process is to be.
#[derive(Debug, Serialize, Deserialize)]
enum Serving {
    Records { database: Place },
    Imports { database: Place, records_url: String },
}

/// A service that runs in a process of its own; ended with the value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    url: String,
}

impl Process {
    /// Starts a records service.
    pub(crate) async fn records(database: Place) -> anyhow::Result<Self> {
        Self::start(&Serving::Records { database }).await
    }

    /// Starts an imports service that applies to the records service at
    /// `records_url`.
    pub(crate) async fn imports(database: Place, records_url: &str) -> anyhow::Result<Self> {
        Self::start(&Serving::Imports { database, records_url: records_url.to_owned() }).await
    }

    async fn start(serving: &Serving) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve").arg(serde_json::to_string(serving)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("a service cannot be started")?;
        let said = child.stdout.take().context("a service without output")?;
        let mut url = String::new();
        BufReader::new(said).read_line(&mut url).await?;
        if url.is_empty() {
            bail!("a service ended before it listened");
        }
        Ok(Self { child, url: url.trim_end().to_owned() })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The memory that it has now, in bytes.
    pub(crate) async fn resident(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:").await
    }

    /// The most that it had since it started, in bytes.
    pub(crate) async fn peak(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:").await
    }

    async fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let id = self.child.id().context("a service has ended")?;
        let status = tokio::fs::read_to_string(format!("/proc/{id}/status")).await;
        let status = status.context("memory is measured on Linux only")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        let kilobytes: u64 = kilobytes.context("no figure for memory")?.parse()?;
        Ok(kilobytes * 1_024)
    }

    /// Drains it and waits for its end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { bail!("a service ended with {status}") }
    }
}

/// What the process does: serves until its standard input ends.
pub(crate) async fn serve(what: &str) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    // A thread of its own, for which the end of the process does not wait.
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        stopping.cancel();
    });
    match serde_json::from_str(what)? {
        Serving::Records { database } => {
            let config = records_config(database.settings());
            let service = records::Application::build(config).await?;
            output::line(format_args!("http://{}", service.address()))?;
            Ok(service.run_until(stop).await?)
        }
        Serving::Imports { database, records_url } => {
            let (listen, clock) = (([127, 0, 0, 1], 0).into(), Clock::system(Tz::Europe__London));
            let mut config = ImportsConfig::new(listen, database.settings(), records_url, clock);
            config.limits.requests_per_second = 0;
            let service = imports::Application::build(config).await?;
            output::line(format_args!("http://{}", service.address()))?;
            Ok(service.run_until(stop).await?)
        }
    }
}
