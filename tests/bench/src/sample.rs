//! The sample client: a company with its registered office, as most clients of a practice
//! are. All unique values are derived from one UUID and one number, so that a yardstick can
//! generate them.

use anyhow::Context as _;
use concord_core::ids::new_uuid;
use concord_proto::pb::records::{
    Address, AddressType, ClientIdentifiers, ClientType, CreateClientRequest, Jurisdiction,
    NewAddress, NewName,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::service::{Clients, Service};

/// Concurrent calls when a practice is filled.
const CONCURRENCY: usize = 16;

/// The unique values of a client.
#[derive(Clone, Debug)]
pub(crate) struct UniqueValues {
    /// Used in the reference, the name, the external id and the request id.
    pub(crate) id: Uuid,
    /// The company number: eight digits.
    pub(crate) digits: String,
}

impl UniqueValues {
    /// Generates the values of a client. A collision of the digits is improbable.
    pub(crate) fn next() -> Self {
        let id = new_uuid();
        let (_, random) = id.as_u64_pair();
        Self { id, digits: format!("{:08}", 1 + random % 99_999_999) }
    }
}

/// The request that creates the client.
pub(crate) fn request(unique: &UniqueValues) -> CreateClientRequest {
    let id = unique.id.as_simple();
    CreateClientRequest {
        r#type: ClientType::PrivateLimitedCompany.into(),
        jurisdiction: Jurisdiction::EnglandWales.into(),
        client_reference: id.to_string(),
        registered_name: Some(NewName {
            name: format!("Harbour {id} Limited"),
            active_from: "2019-04-01".to_owned(),
        }),
        identifiers: Some(ClientIdentifiers {
            company_number: unique.digits.clone(),
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
        request_id: unique.id.to_string(),
        ..CreateClientRequest::default()
    }
}

/// Creates `count` clients and returns their ids.
pub(crate) async fn fill(service: &Service, count: usize) -> anyhow::Result<Vec<String>> {
    fill_through(&service.clients().await?, count).await
}

/// As [`fill`], through connections to a service in any process.
pub(crate) async fn fill_through(clients: &[Clients], count: usize) -> anyhow::Result<Vec<String>> {
    let clients = clients.iter().cycle().take(count).cloned();
    stream::iter(clients.map(create)).buffer_unordered(CONCURRENCY).try_collect().await
}

async fn create(mut clients: Clients) -> anyhow::Result<String> {
    let created = clients.create_client(request(&UniqueValues::next())).await?.into_inner();
    Ok(created.client.context("a response has no client")?.id)
}
