//! `concord trace`: shows the delivery state of a change for every product.

use concord_proto::pb::records::TraceChangeRequest;

use crate::{
    cli::TraceOptions,
    client::{CallError, ServiceClient},
    render::{output, trace_page::TracePage},
};

/// The prefix of change ids.
const CHANGE_PREFIX: &str = "chg_";

pub(super) async fn run(options: TraceOptions) -> anyhow::Result<u8> {
    options.call.practice()?;
    let request = request(&options)?;
    let server = ServiceClient::records(&options.call).await?;
    let answer = server.support().trace_change(request).await.map_err(CallError)?;
    let page = TracePage(answer.into_inner());
    if options.call.json {
        output::line(page.json()?)?;
    } else if page.0.changes.is_empty() {
        output::note("no change of the record is retained");
    } else {
        output::line(&page)?;
    }
    Ok(output::EXIT_OK)
}

fn request(options: &TraceOptions) -> anyhow::Result<TraceChangeRequest> {
    let TraceOptions { what, max, to, .. } = options;
    let product = to.as_ref().map(ToString::to_string).unwrap_or_default();
    if !what.starts_with(CHANGE_PREFIX) {
        let (record, max_changes) = (what.clone(), max.unwrap_or_default());
        return Ok(TraceChangeRequest { record, max_changes, product, ..Default::default() });
    }
    anyhow::ensure!(max.is_none(), "--max is for a record's changes, and {what} is one change");
    Ok(TraceChangeRequest { change: what.clone(), product, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn traced(args: &[&str]) -> anyhow::Result<TraceChangeRequest> {
        let command = ["concord", "trace"].iter().chain(args);
        match Cli::try_parse_from(command).unwrap().command {
            Command::Trace(options) => request(&options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn change_id_prefix_selects_a_change_and_other_ids_a_record() {
        let change = traced(&["chg_1", "--to", "books"]).unwrap();
        assert_eq!((change.change.as_str(), change.record.as_str()), ("chg_1", ""));
        assert_eq!(change.product, "books");
        let record = traced(&["ref:ACME01", "--max", "5"]).unwrap();
        assert_eq!((record.change.as_str(), record.record.as_str()), ("", "ref:ACME01"));
        assert_eq!(record.max_changes, 5);
        assert!(traced(&["chg_1", "--max", "5"]).is_err());
    }
}
