//! `concord find`: finds clients and persons.

use concord_proto::{
    limits::MAX_PAGE_SIZE,
    pb::records::{RecordKind, SearchRecordsRequest},
};

use crate::{
    cli::{FindOptions, NamedKind},
    client::{CallError, ServiceClient},
    render::{output, search_results::SearchResults},
};

pub(super) async fn run(options: FindOptions) -> anyhow::Result<u8> {
    options.call.practice()?;
    let results = find(&options).await?;
    if options.call.json {
        output::line(results.json()?)?;
    } else {
        if !results.results.is_empty() {
            output::line(&results)?;
        }
        for remark in results.remarks() {
            output::note(remark);
        }
    }
    Ok(output::EXIT_OK)
}

/// Requests pages until the limit is reached, or there are no more.
async fn find(options: &FindOptions) -> anyhow::Result<SearchResults> {
    let server = ServiceClient::records(&options.call).await?;
    let limit = options.results.limit();
    let mut request = request(options);
    let mut results = SearchResults::default();
    loop {
        let left = limit - results.results.len();
        request.page_size = i32::try_from(left.min(MAX_PAGE_SIZE))?;
        let answer = server.support().search_records(request.clone()).await.map_err(CallError)?;
        let page = answer.into_inner();
        results.results.extend(page.results);
        results.truncated |= page.truncated;
        results.more = !page.next_page_token.is_empty();
        if !results.more || results.results.len() >= limit {
            return Ok(results);
        }
        // A page token is valid for the other fields of its request only; the page size may
        // change.
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
