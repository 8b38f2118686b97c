//! `concord show`: shows one client or person, with history, contacts, links and changes.

use std::collections::HashMap;

use concord_proto::pb::records::{
    BatchGetClientsRequest, Client, ContactWithPerson, GetRecordSummaryRequest,
};

use crate::{
    cli::ShowOptions,
    client::{CallError, ServiceClient},
    render::{output, record_page::RecordPage},
};

pub(super) async fn run(options: ShowOptions) -> anyhow::Result<u8> {
    let ShowOptions { record, call } = options;
    call.practice()?;
    let server = ServiceClient::records(&call).await?;
    let request = GetRecordSummaryRequest { record };
    let answer = server.support().get_record_summary(request).await.map_err(CallError)?;
    let summary = answer.into_inner();
    // Contacts of a client belong to that client. Contacts of a person belong to other
    // clients, which are loaded for their names.
    let elsewhere = if summary.client.is_none() { summary.contacts.as_slice() } else { &[] };
    let clients = clients_of(&server, elsewhere).await?;
    let page = RecordPage { summary, clients };
    if call.json {
        output::line(page.json()?)?;
    } else {
        output::line(&page)?;
    }
    Ok(output::EXIT_OK)
}

/// The clients of contacts, by id.
async fn clients_of(
    server: &ServiceClient,
    contacts: &[ContactWithPerson],
) -> Result<HashMap<String, Client>, CallError> {
    let ids = contacts.iter().filter_map(|with| with.contact.as_ref());
    let mut clients: Vec<_> = ids.map(|contact| contact.client_id.clone()).collect();
    let mut found = HashMap::new();
    // A response may omit clients because of its size limit; `left_out` lists them.
    while !clients.is_empty() {
        let answer = server.clients().batch_get_clients(BatchGetClientsRequest { clients }).await?;
        let answer = answer.into_inner();
        found.extend(answer.clients.into_iter().map(|client| (client.id.clone(), client)));
        clients = answer.left_out;
    }
    Ok(found)
}
