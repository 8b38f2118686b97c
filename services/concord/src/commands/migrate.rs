//! `concord migrate`: migrates the database schemas of the services to this version.

use anyhow::Context as _;

use crate::{
    cli::{MigrateOptions, ServiceName},
    host::services,
    render::output,
};

pub(super) async fn run(options: MigrateOptions) -> anyhow::Result<u8> {
    for service in ServiceName::chosen(options.service) {
        let database = options.databases.of(*service)?;
        let role = options.grant_to.as_deref();
        let applied = match service {
            ServiceName::Records => records::migrate(database, role).await,
            ServiceName::Imports => imports::migrate(database, role).await,
        };
        let name = service.as_str();
        let applied = applied.with_context(|| format!("the database of the {name} service"));
        let applied = applied.map_err(|error| services::explained(*service, error))?;
        let version = env!("CARGO_PKG_VERSION");
        match applied.as_slice() {
            [] => output::line(format_args!("{name}: up to date with concord {version}"))?,
            applied => output::line(format_args!(
                "{name}: brought up to date with concord {version}: {}",
                applied.join(", ")
            ))?,
        }
        if let Some(role) = role {
            output::line(format_args!("{name}: {role} may read and write the tables"))?;
        }
    }
    Ok(output::EXIT_OK)
}
