//! `concord find`: finds clients and persons.

use shared::pb::records::{RecordKind, SearchRecordsRequest};

use crate::{
    DONE,
    cli::{FindOptions, NamedKind},
    client::Server,
    found::Found,
    output,
    refused::Refused,
};

/// The most that the service gives in one page.
const LARGEST_PAGE: usize = 1_000;

pub(super) async fn run(options: FindOptions) -> anyhow::Result<u8> {
    options.call.practice()?;
    let found = find(&options).await?;
    if options.call.json {
        output::line(found.json())?;
    } else {
        if !found.results.is_empty() {
            output::line(&found)?;
        }
        for remark in found.remarks() {
            output::note(remark);
        }
    }
    Ok(DONE)
}

/// Asks for one page after the other, until it is enough.
async fn find(options: &FindOptions) -> anyhow::Result<Found> {
    let server = Server::records(&options.call).await?;
    let limit = usize::try_from(options.limit)?;
    let mut request = request(options);
    let mut found = Found::default();
    loop {
        let left = limit - found.results.len();
        request.page_size = i32::try_from(left.min(LARGEST_PAGE))?;
        let answer = server.support().search_records(request.clone()).await.map_err(Refused)?;
        let page = answer.into_inner();
        found.results.extend(page.results);
        found.truncated |= page.truncated;
        found.more = !page.next_page_token.is_empty();
        if !found.more || found.results.len() >= limit {
            return Ok(found);
        }
        // Tokens are bound to the other fields, not to the size of a page.
        request.page_token = page.next_page_token;
    }
}

fn request(options: &FindOptions) -> SearchRecordsRequest {
    let kind = match options.kind {
        None => RecordKind::Unspecified,
        Some(NamedKind::Client) => RecordKind::Client,
        Some(NamedKind::Person) => RecordKind::Person,
    };
    SearchRecordsRequest {
        query: options.words.join(" "),
        record_kind: kind.into(),
        show_orphaned: options.all,
        ..SearchRecordsRequest::default()
    }
}
