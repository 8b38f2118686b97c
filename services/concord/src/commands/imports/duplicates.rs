//! `concord imports duplicates`.

use concord_proto::{
    limits::MAX_PAGE_SIZE,
    pb::imports::{ListPossibleDuplicatesRequest, PossibleDuplicate},
};

use crate::{
    cli::DuplicatesOptions,
    client::{CallError, ServiceClient},
    render::{duplicate_table::DuplicateTable, output},
};

pub(super) async fn run(options: DuplicatesOptions) -> anyhow::Result<u8> {
    let DuplicatesOptions { import, results, call } = options;
    let server = ServiceClient::imports(&call).await?;
    let limit = results.limit();
    let mut duplicates = list(&server, &import, limit + 1).await?;
    let more = duplicates.len() > limit;
    duplicates.truncate(limit);
    let table = DuplicateTable { duplicates, more };
    if call.json {
        output::line(table.json()?)?;
    } else if table.duplicates.is_empty() {
        output::note("there are no possible duplicates");
    } else {
        output::line(&table)?;
    }
    if more {
        output::note("there are more: --limit N shows up to N");
    }
    Ok(output::EXIT_OK)
}

/// The first possible duplicates of an import, at most `max` of them.
async fn list(
    server: &ServiceClient,
    import: &str,
    max: usize,
) -> Result<Vec<PossibleDuplicate>, CallError> {
    let mut request = ListPossibleDuplicatesRequest {
        import_id: import.to_owned(),
        page_size: i32::try_from(max.min(MAX_PAGE_SIZE)).unwrap_or(i32::MAX),
        ..ListPossibleDuplicatesRequest::default()
    };
    let mut duplicates = Vec::new();
    loop {
        let calls = &mut server.import_calls();
        let page = calls.list_possible_duplicates(request.clone()).await?.into_inner();
        duplicates.extend(page.possible_duplicates);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || duplicates.len() >= max {
            duplicates.truncate(max);
            return Ok(duplicates);
        }
    }
}
