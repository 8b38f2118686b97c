//! `concord imports list`.

use concord_proto::{
    limits::MAX_PAGE_SIZE,
    pb::imports::{Import, ListImportsRequest},
};

use crate::{
    cli::ListOptions,
    client::{CallError, ServiceClient},
    render::{import_table::ImportTable, output},
};

pub(super) async fn run(options: ListOptions) -> anyhow::Result<u8> {
    let server = ServiceClient::imports(&options.call).await?;
    let (imports, more) = list(&server, options.failed, options.results.limit()).await?;
    let table = ImportTable { imports, more };
    if options.call.json {
        output::line(table.json()?)?;
    } else if table.imports.is_empty() {
        output::note("there are no such imports");
    } else {
        output::line(&table)?;
    }
    if more {
        output::note("there are more: --limit N shows up to N");
    }
    Ok(output::EXIT_OK)
}

/// The newest imports, and whether there are more.
async fn list(
    server: &ServiceClient,
    failed: bool,
    limit: usize,
) -> Result<(Vec<Import>, bool), CallError> {
    let size = (limit + 1).min(MAX_PAGE_SIZE);
    let mut request = ListImportsRequest {
        page_size: i32::try_from(size).unwrap_or(i32::MAX),
        with_failures: failed,
        ..ListImportsRequest::default()
    };
    let mut imports = Vec::new();
    loop {
        let page = server.import_calls().list_imports(request.clone()).await?.into_inner();
        imports.extend(page.imports);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || imports.len() > limit {
            let more = imports.len() > limit;
            imports.truncate(limit);
            return Ok((imports, more));
        }
    }
}
