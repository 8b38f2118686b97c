//! `concord show`: all about one client or person.

use std::collections::HashMap;

use shared::pb::records::{
    BatchGetClientsRequest, Client, ContactWithPerson, GetRecordSummaryRequest,
};

use crate::{
    DONE, cli::ShowOptions, client::Server, output, record_page::RecordPage, refused::Refused,
};

pub(super) async fn run(options: ShowOptions) -> anyhow::Result<u8> {
    let ShowOptions { record, call } = options;
    call.practice()?;
    let server = Server::records(&call).await?;
    let request = GetRecordSummaryRequest { record };
    let answer = server.support().get_record_summary(request).await.map_err(Refused)?;
    let summary = answer.into_inner();
    // Those of a client are at that client; a person's are at others.
    let elsewhere = if summary.client.is_none() { summary.contacts.as_slice() } else { &[] };
    let clients = clients_of(&server, elsewhere).await?;
    let page = RecordPage { summary, clients };
    if call.json {
        output::line(page.json())?;
    } else {
        output::line(&page)?;
    }
    Ok(DONE)
}

/// The clients of contacts, by id.
async fn clients_of(
    server: &Server,
    contacts: &[ContactWithPerson],
) -> Result<HashMap<String, Client>, Refused> {
    let ids = contacts.iter().filter_map(|with| with.contact.as_ref());
    let mut clients: Vec<_> = ids.map(|contact| contact.client_id.clone()).collect();
    let mut found = HashMap::new();
    // One answer may not hold them all.
    while !clients.is_empty() {
        let answer = server.clients().batch_get_clients(BatchGetClientsRequest { clients }).await?;
        let answer = answer.into_inner();
        found.extend(answer.clients.into_iter().map(|client| (client.id.clone(), client)));
        clients = answer.left_out;
    }
    Ok(found)
}
