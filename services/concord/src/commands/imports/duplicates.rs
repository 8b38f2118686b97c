//! `concord imports duplicates`.

use shared::pb::imports::{ListPossibleDuplicatesRequest, PossibleDuplicate};

use crate::{
    DONE, cli::DuplicatesOptions, client::Server, duplicate_table::DuplicateTable, output,
    refused::Refused,
};

/// The most that the service gives in one page.
const LARGEST_PAGE: usize = 1_000;

pub(super) async fn run(options: DuplicatesOptions) -> anyhow::Result<u8> {
    let DuplicatesOptions { import, limit, call } = options;
    let server = Server::imports(&call).await?;
    let limit = usize::try_from(limit)?;
    let mut duplicates = list(&server, &import, limit + 1).await?;
    let more = duplicates.len() > limit;
    duplicates.truncate(limit);
    let table = DuplicateTable { duplicates, more };
    if call.json {
        output::line(table.json())?;
    } else if table.duplicates.is_empty() {
        output::note("no record looks like another one");
    } else {
        output::line(&table)?;
    }
    if more {
        output::note("there are more: --limit N shows up to N");
    }
    Ok(DONE)
}

/// The first possible duplicates of an import, `most` of them.
async fn list(
    server: &Server,
    import: &str,
    most: usize,
) -> Result<Vec<PossibleDuplicate>, Refused> {
    let mut request = ListPossibleDuplicatesRequest {
        import_id: import.to_owned(),
        page_size: i32::try_from(most.min(LARGEST_PAGE)).unwrap_or(i32::MAX),
        ..ListPossibleDuplicatesRequest::default()
    };
    let mut duplicates = Vec::new();
    loop {
        let calls = &mut server.import_calls();
        let page = calls.list_possible_duplicates(request.clone()).await?.into_inner();
        duplicates.extend(page.possible_duplicates);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || duplicates.len() >= most {
            duplicates.truncate(most);
            return Ok(duplicates);
        }
    }
}
