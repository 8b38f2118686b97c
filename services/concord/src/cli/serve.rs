//! The options of the commands that run the services: `concord serve` and `concord demo`.

use std::net::SocketAddr;

use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use concord_server::telemetry::LogFormat;

use super::{
    DatabaseLimits, Databases, LimitOptions, OperationOptions, SecurityOptions, ServiceName,
};

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Only this service; both without it
    pub(crate) service: Option<ServiceName>,
    #[command(flatten)]
    pub(crate) databases: Databases,
    #[command(flatten)]
    pub(crate) database_limits: DatabaseLimits,
    /// Do not migrate the schemas, and do not start when they are not of this version;
    /// `concord migrate` migrates them
    #[arg(long, env = "CONCORD_NO_MIGRATE")]
    pub(crate) no_migrate: bool,
    /// Where the records service listens
    #[arg(
        long,
        env = "CONCORD_RECORDS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) records_listen: SocketAddr,
    /// Where the imports service listens
    #[arg(
        long,
        env = "CONCORD_IMPORTS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50052"
    )]
    pub(crate) imports_listen: SocketAddr,
    /// The URL of the records service for the imports service; by default the address
    /// that the records service listens on
    #[arg(long, env = "CONCORD_RECORDS", value_name = "URL")]
    pub(crate) records: Option<String>,
    /// The time zone in which days begin
    #[arg(
        long,
        env = "CONCORD_TIME_ZONE",
        value_name = "NAME",
        default_value = "Europe/London",
        value_parser = time_zone
    )]
    pub(crate) time_zone: Tz,
    /// The format of the log; `CONCORD_LOG` sets its level, such as info
    #[arg(long, env = "CONCORD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormatName,
    #[command(flatten)]
    pub(crate) security: SecurityOptions,
    #[command(flatten)]
    pub(crate) operation: OperationOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
}

fn time_zone(name: &str) -> Result<Tz, &'static str> {
    name.parse().map_err(|_| "not a time zone; write its name, such as Europe/London")
}

/// A format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormatName {
    /// Plain text
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormatName> for LogFormat {
    fn from(name: LogFormatName) -> Self {
        match name {
            LogFormatName::Text => Self::Text,
            LogFormatName::Json => Self::Json,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct DemoOptions {
    /// Where the records service listens; a free port without it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub(crate) records_listen: SocketAddr,
    /// Where the imports service listens; a free port without it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", hide_default_value = true)]
    pub(crate) imports_listen: SocketAddr,
    /// Exit at the end of the demonstration, instead of keeping the services running
    #[arg(long)]
    pub(crate) exit: bool,
}
