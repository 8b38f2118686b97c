//! `concord demo`: the whole of Concord in one run, on a sample practice.

mod audience;
mod next_steps;
mod sample;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use chrono_tz::Tz;
use imports::ImportsConfig;
use records::RecordsConfig;
use shared::{
    access::Role,
    clock::Clock,
    db::DatabaseSettings,
    pb::imports::{Failure, Import, RecordStatus, Severity},
    telemetry::{LogFormat, Telemetry, TelemetrySettings},
};

use super::{connect::connect, import::import};
use crate::{
    DONE,
    cli::{CallOptions, CredentialOptions, DemoOptions, ImportOptions},
    client::Server,
    failures, output,
    pair::{self, Running},
    progress::Progress,
    stop,
};
use audience::Audience;
use next_steps::NextSteps;

const PRACTICE: &str = "demo";
/// The product whose records are imported.
const IMPORTING: &str = "manager";
/// The product that hears of it.
const HEARING: &str = "books";

/// So many failures are shown.
const FAILURES_SHOWN: usize = 20;

pub(super) async fn run(options: DemoOptions) -> anyhow::Result<u8> {
    let telemetry = Telemetry::start(TelemetrySettings {
        filter: "error",
        format: LogFormat::Text,
        otlp_endpoint: None,
        service: "concord",
    })?;
    let asked_to_stop = tokio::spawn(stop::asked());
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let mut services = start(&options, folder.path()).await?;
    let site = Site::of(&services, folder.path())?;
    let shown = tokio::select! {
        shown = show(&site) => shown,
        ended = pair::any_ended(&mut services) => ended,
    };
    if shown.is_ok() && !options.exit {
        output::line("\nBoth services stay up until you press Ctrl-C.")?;
        tokio::select! {
            asked = asked_to_stop => asked??,
            ended = pair::any_ended(&mut services) => ended?,
        }
    }
    shown.and(pair::stop(services).await)?;
    telemetry.stop().await;
    Ok(DONE)
}

/// Starts both services on SQLite files in the folder.
async fn start(options: &DemoOptions, folder: &Path) -> anyhow::Result<Vec<Running>> {
    let clock = Clock::system(Tz::Europe__London);
    let database = |file| DatabaseSettings::new(format!("sqlite:{}", folder.join(file).display()));
    let config = RecordsConfig::new(options.records_listen, database("records.db"), clock.clone());
    let records = pair::start_records(config).await?;
    let (listen, database) = (options.imports_listen, database("imports.db"));
    let config = ImportsConfig::new(listen, database, records.url(), clock);
    let imports = pair::start_imports(config).await?;
    Ok(vec![records, imports])
}

/// Where everything is.
#[derive(Debug)]
struct Site {
    records: SocketAddr,
    imports: SocketAddr,
    /// The files of the sample practice.
    sample: PathBuf,
    /// Where the failures are written.
    failures: PathBuf,
}

impl Site {
    fn of(services: &[Running], folder: &Path) -> anyhow::Result<Self> {
        let [records, imports] = services else { bail!("two services, not more, not less") };
        Ok(Self {
            records: records.address(),
            imports: imports.address(),
            sample: folder.join("sample"),
            failures: folder.join("failures.csv"),
        })
    }
}

/// Shows all there is to see.
async fn show(site: &Site) -> anyhow::Result<()> {
    let (manager, books) = (caller(IMPORTING, site)?, caller(HEARING, site)?);
    title("Both services run, on SQLite files in a temporary folder")?;
    output::line(format_args!("  records  {}\n  imports  {}", manager.records, manager.imports))?;

    title("Two products are connected to the practice `demo`: manager and books")?;
    for product in [IMPORTING, HEARING] {
        let connection = connect(&manager, product).await?;
        output::line(format_args!("  {}", connection.product))?;
    }
    let audience = Audience::begin(Server::records(&books).await?).await?;

    title("manager brings its records over: clients, contacts and addresses")?;
    sample::write(&site.sample).context("the sample cannot be written")?;
    let report = import(import_options(site, &manager)).await?;
    output::line(&report)?;

    title("What failed, and why")?;
    show_failures(&manager, &report.import).await?;

    title("What books has heard meanwhile")?;
    output::line(audience.end(&report.import).await?)?;

    title("What to try next, in another terminal")?;
    output::line(NextSteps(site))?;
    Ok(())
}

fn title(text: &str) -> std::io::Result<()> {
    output::line(format_args!("\n== {text}\n"))
}

/// A product of the practice, as an owner.
fn caller(product: &str, site: &Site) -> anyhow::Result<CallOptions> {
    let name = |text: &str| anyhow::anyhow!("`{text}` is not a name");
    Ok(CallOptions {
        practice: Some(PRACTICE.parse().map_err(|_| name(PRACTICE))?),
        product: Some(product.parse().map_err(|_| name(product))?),
        account: shared::caller::DEFAULT_ACCOUNT.parse().map_err(|_| name("main"))?,
        user: None,
        roles: vec![Role::Owner],
        reason: None,
        records: pair::url(site.records),
        imports: pair::url(site.imports),
        json: false,
        credential: CredentialOptions::default(),
    })
}

fn import_options(site: &Site, call: &CallOptions) -> ImportOptions {
    ImportOptions {
        inputs: vec![site.sample.clone()],
        label: "demonstration".to_owned(),
        dry_run: false,
        ignore_unknown_columns: false,
        retry: None,
        corrected: Vec::new(),
        batches: None,
        failures: Some(site.failures.clone()),
        call: call.clone(),
    }
}

/// Shows what failed, and what failed because of it.
async fn show_failures(call: &CallOptions, import: &Import) -> anyhow::Result<()> {
    let (server, progress) = (Server::imports(call).await?, Progress::hidden());
    for status in [RecordStatus::Failed, RecordStatus::Blocked] {
        let failures = failures::list(
            &server,
            &import.id,
            (status, Severity::Error),
            FAILURES_SHOWN,
            &progress,
        )
        .await?;
        for failure in &failures {
            output::line(failure_line(failure))?;
        }
    }
    Ok(())
}

fn failure_line(failure: &Failure) -> String {
    let Failure { source_id, record_name, client_reference, reason_text, root_cause, .. } = failure;
    let reference = match client_reference.as_str() {
        "" => String::new(),
        reference => format!(" ({reference})"),
    };
    let cause = match root_cause.as_str() {
        "" => String::new(),
        cause => format!("; because of {cause}"),
    };
    format!("  {source_id}  {record_name}{reference}: {reason_text}{cause}")
}
