//! `concord migrate`: brings the tables of the services to the newest version.

use anyhow::Context as _;

use super::explained;
use crate::{
    DONE,
    cli::{MigrateOptions, ServiceName},
    output,
};

pub(super) async fn run(options: MigrateOptions) -> anyhow::Result<u8> {
    for service in ServiceName::chosen(options.service) {
        let database = options.databases.of(*service)?;
        let role = options.grant_to.as_deref();
        let missing = match service {
            ServiceName::Records => records::migrate(database, role).await,
            ServiceName::Imports => imports::migrate(database, role).await,
        };
        let name = service.as_str();
        let missing = missing.with_context(|| format!("the database of the {name} service"));
        let missing = missing.map_err(|error| explained(*service, error))?;
        let version = env!("CARGO_PKG_VERSION");
        match missing.as_slice() {
            [] => output::line(format_args!("{name}: up to date with concord {version}"))?,
            missing => output::line(format_args!(
                "{name}: brought up to date with concord {version}: {}",
                missing.join(", ")
            ))?,
        }
        if let Some(role) = role {
            output::line(format_args!("{name}: {role} may read and write the tables"))?;
        }
    }
    Ok(DONE)
}
