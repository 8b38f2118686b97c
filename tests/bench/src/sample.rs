//! The client that is created and read: a company with its registered office, as
//! most clients of a practice are. All of what no two clients share comes from
//! one UUID and one number, so that a yardstick can make its own.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use shared::{
    ids::new_uuid,
    pb::records::{
        Address, AddressType, ClientIdentifiers, ClientType, CreateClientRequest, Jurisdiction,
        NewAddress, NewName,
    },
};
use uuid::Uuid;

use crate::service::{Clients, Service};

/// How many are created at once when a practice is filled.
const AT_ONCE: usize = 16;

/// What is new in a client.
#[derive(Clone, Debug)]
pub(crate) struct Novelty {
    /// In its reference, its name, its external id, and the request's id.
    pub(crate) id: Uuid,
    /// Its company number: eight digits.
    pub(crate) digits: String,
}

impl Novelty {
    /// Of one more client. The digits are as good as never the same again.
    pub(crate) fn next() -> Self {
        let id = new_uuid();
        let (_, random) = id.as_u64_pair();
        Self { id, digits: format!("{:08}", 1 + random % 99_999_999) }
    }
}

/// The call that creates it.
pub(crate) fn request(novelty: &Novelty) -> CreateClientRequest {
    let id = novelty.id.as_simple();
    CreateClientRequest {
        r#type: ClientType::PrivateLimitedCompany.into(),
        jurisdiction: Jurisdiction::EnglandWales.into(),
        client_reference: id.to_string(),
        registered_name: Some(NewName {
            name: format!("Harbour {id} Limited"),
            active_from: "2019-04-01".to_owned(),
        }),
        identifiers: Some(ClientIdentifiers {
            company_number: novelty.digits.clone(),
            ..ClientIdentifiers::default()
        }),
        emails: vec!["office@harbour.example".to_owned()],
        phones: vec!["020 7946 0018".to_owned()],
        addresses: vec![NewAddress {
            r#type: AddressType::RegisteredOffice.into(),
            address: Some(Address {
                line_1: "12 Quay Street".to_owned(),
                town: "Bristol".to_owned(),
                postcode: "BS1 4DJ".to_owned(),
                country: "GB".to_owned(),
                ..Address::default()
            }),
            active_from: "2019-04-01".to_owned(),
            ..NewAddress::default()
        }],
        external_id: id.to_string(),
        request_id: novelty.id.to_string(),
        ..CreateClientRequest::default()
    }
}

/// Gives the practice so many clients; tells their ids.
pub(crate) async fn fill(service: &Service, count: usize) -> anyhow::Result<Vec<String>> {
    fill_through(&service.clients().await?, count).await
}

/// The same, of a service in whatever process.
pub(crate) async fn fill_through(clients: &[Clients], count: usize) -> anyhow::Result<Vec<String>> {
    let clients = clients.iter().cycle().take(count).cloned();
    stream::iter(clients.map(create)).buffer_unordered(AT_ONCE).try_collect().await
}

async fn create(mut clients: Clients) -> anyhow::Result<String> {
    let created = clients.create_client(request(&Novelty::next())).await?.into_inner();
    Ok(created.client.context("an answer without its client")?.id)
}
