//! `concord demo`: runs both services, imports a sample practice as one product, and
//! prints the change events that another product receives.

mod next_steps;
mod sample;
mod setup;
mod subscriber;

use std::path::Path;

use anyhow::Context as _;
use chrono_tz::Tz;
use concord_core::{access::Role, clock::Clock};
use concord_db::DatabaseSettings;
use concord_proto::pb::imports::{Failure, Import, RecordStatus, Severity};
use concord_server::telemetry::{LogFormat, Telemetry, TelemetrySettings};
use imports::ImportsConfig;
use records::RecordsConfig;

use super::{connect::connect, import::import};
use crate::{
    cli::{CallOptions, CredentialOptions, DemoOptions, ImportOptions},
    client::ServiceClient,
    host::{
        services::{self, RunningService},
        shutdown,
    },
    importer::failures,
    render::{output, progress::Progress},
};
use next_steps::NextSteps;
use setup::{DemoSetup, IMPORTING, PRACTICE, SUBSCRIBING};
use subscriber::Subscriber;

/// Maximum number of failures that are printed for each status.
const FAILURES_SHOWN: usize = 20;

pub(super) async fn run(options: DemoOptions) -> anyhow::Result<u8> {
    let telemetry = Telemetry::start(TelemetrySettings {
        filter: "error",
        format: LogFormat::Text,
        otlp_endpoint: None,
        service: "concord",
    })?;
    let shutdown_requested = tokio::spawn(shutdown::requested());
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut services = start(&options, folder.path()).await?;
    let setup = DemoSetup::of(&services, folder.path())?;
    let shown = tokio::select! {
        shown = show(&setup) => shown,
        ended = services::any_ended(&mut services) => ended,
    };
    if shown.is_ok() && !options.exit {
        output::line("\nBoth services run until you press Ctrl-C.")?;
        tokio::select! {
            requested = shutdown_requested => requested??,
            ended = services::any_ended(&mut services) => ended?,
        }
    }
    shown.and(services::stop(services).await)?;
    telemetry.stop().await;
    Ok(output::EXIT_OK)
}

/// Starts both services on SQLite files in the folder.
async fn start(options: &DemoOptions, folder: &Path) -> anyhow::Result<Vec<RunningService>> {
    let clock = Clock::system(Tz::Europe__London);
    let database = |file| DatabaseSettings::new(format!("sqlite:{}", folder.join(file).display()));
    let config = RecordsConfig::new(options.records_listen, database("records.db"), clock.clone());
    let records = services::start_records(config).await?;
    let (listen, database) = (options.imports_listen, database("imports.db"));
    let config = ImportsConfig::new(listen, database, records.url(), clock);
    let imports = services::start_imports(config).await?;
    Ok(vec![records, imports])
}

/// Runs the steps of the demonstration, and prints the result of each.
async fn show(setup: &DemoSetup) -> anyhow::Result<()> {
    let (manager, books) = (caller(IMPORTING, setup)?, caller(SUBSCRIBING, setup)?);
    title("Both services run, on SQLite files in a temporary folder")?;
    output::line(format_args!("  records  {}\n  imports  {}", manager.records, manager.imports))?;

    title("Two products are connected to the practice `demo`: manager and books")?;
    for product in [IMPORTING, SUBSCRIBING] {
        let connection = connect(&manager, product).await?;
        output::line(format_args!("  {}", connection.product))?;
    }
    let subscriber = Subscriber::start(ServiceClient::records(&books).await?).await?;

    title("manager imports its records: clients, contacts and addresses")?;
    sample::write(&setup.sample).context("cannot write the sample")?;
    let report = import(import_options(setup, &manager)).await?;
    output::line(&report)?;

    title("What failed, and why")?;
    show_failures(&manager, &report.import).await?;

    title("The change events that books received")?;
    output::line(subscriber.finish(&report.import).await?)?;

    title("What to try next, in another terminal")?;
    output::line(NextSteps(setup))?;
    Ok(())
}

fn title(text: &str) -> std::io::Result<()> {
    output::line(format_args!("\n== {text}\n"))
}

/// The call options of a product of the practice, in the role owner.
fn caller(product: &str, setup: &DemoSetup) -> anyhow::Result<CallOptions> {
    let name = |text: &str| anyhow::anyhow!("`{text}` is not a name");
    Ok(CallOptions {
        practice: Some(PRACTICE.parse().map_err(|_| name(PRACTICE))?),
        product: Some(product.parse().map_err(|_| name(product))?),
        account: concord_core::caller::DEFAULT_ACCOUNT.parse().map_err(|_| name("main"))?,
        user: None,
        roles: vec![Role::Owner],
        reason: None,
        records: services::url(setup.records),
        imports: services::url(setup.imports),
        json: false,
        credential: CredentialOptions::default(),
    })
}

fn import_options(setup: &DemoSetup, call: &CallOptions) -> ImportOptions {
    ImportOptions {
        inputs: vec![setup.sample.clone()],
        label: "demonstration".to_owned(),
        dry_run: false,
        ignore_unknown_columns: false,
        retry: None,
        corrected: Vec::new(),
        batches: None,
        failures: Some(setup.failures.clone()),
        call: call.clone(),
    }
}

/// Prints the records that failed, and those that were blocked by a failed record.
async fn show_failures(call: &CallOptions, import: &Import) -> anyhow::Result<()> {
    let (server, progress) = (ServiceClient::imports(call).await?, Progress::hidden());
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
