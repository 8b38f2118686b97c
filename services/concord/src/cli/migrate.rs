//! The options of the commands on the databases: `concord migrate` and
//! `concord post-restore`.

use clap::Args;

use super::{Databases, ServiceName};

#[derive(Args, Debug)]
pub(crate) struct MigrateOptions {
    /// Only this service; both without it
    pub(crate) service: Option<ServiceName>,
    #[command(flatten)]
    pub(crate) databases: Databases,
    /// The PostgreSQL role of the service, when it does not own the tables: grants it the
    /// right to read and write them
    #[arg(long, value_name = "ROLE")]
    pub(crate) grant_to: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct PostRestoreOptions {
    /// Only this service; both without it
    pub(crate) service: Option<ServiceName>,
    #[command(flatten)]
    pub(crate) databases: Databases,
}
