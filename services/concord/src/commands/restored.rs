//! `concord restored`: after a backup of the records was restored, and before the
//! service is started on it.

use anyhow::Context as _;

use crate::{
    DONE,
    cli::{RestoredOptions, ServiceName},
    output,
};

pub(super) async fn run(options: RestoredOptions) -> anyhow::Result<u8> {
    let database = options.databases.of(ServiceName::Records)?;
    let begun = records::restored(database).await;
    let begun = begun.context("the database of the records service")?;
    output::line(format_args!(
        "{} feeds begin a new epoch, and {} subscriptions have lost their place: every subscriber \
         is refused its old cursor, and takes a snapshot",
        begun.feeds, begun.subscriptions
    ))?;
    Ok(DONE)
}
