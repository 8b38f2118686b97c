//! `ClientService`.

use concord_core::{
    caller::{Caller, Product},
    page::page_size,
    rules::{
        FieldViolations,
        draft::{ClientDraft, DatedName, Identifiers, Reference, emails, phones},
        terms::Term as _,
        text::{blank, too_many},
        warning,
    },
    status::ApiError,
};
use concord_proto::{
    pb::records::{
        BatchGetClientsRequest, BatchGetClientsResponse, Client, ClientType, CreateClientRequest,
        CreateClientResponse, ErrorReason, GetClientRequest, GetClientResponse, Jurisdiction,
        LinkClientRequest, LinkClientResponse, ListClientLinksRequest, ListClientLinksResponse,
        ListClientsRequest, ListClientsResponse, UnlinkClientRequest, UnlinkClientResponse,
        UpdateClientRequest, UpdateClientResponse, client_service_server::ClientService,
        create_client_request::Individual,
    },
    rpc::Rpc,
};
use concord_server::with_record_ids;
use tonic::{Request, Response, Status};

use super::{
    Api,
    parse::{self, mutation},
    update,
};
use crate::{
    service::{
        create::{ClientCommand, WhichPerson},
        links::ListedLinks,
        reading::PageRequest,
    },
    store::clients::PageOf,
};

#[tonic::async_trait]
impl ClientService for Api {
    async fn create_client(
        &self,
        request: Request<CreateClientRequest>,
    ) -> Result<Response<CreateClientResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ClientCreateClient, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, command(&request))?;
        Ok(Response::new(self.records.create_client(caller, context, command).await?))
    }

    async fn get_client(
        &self,
        request: Request<GetClientRequest>,
    ) -> Result<Response<GetClientResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().client;
        let (client, person) = self.records.client(&caller, &name).await?;
        let person_id = person.as_ref().map(|person| person.id.clone());
        let ids = [client.id.clone()].into_iter().chain(person_id);
        Ok(with_record_ids(GetClientResponse { client: Some(client), person }, ids))
    }

    async fn list_clients(
        &self,
        request: Request<ListClientsRequest>,
    ) -> Result<Response<ListClientsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let which = PageOf {
            after: None,
            linked_product: linked_product(&request.linked_product)?,
            show_orphaned: request.show_orphaned,
        };
        let page = PageRequest { size: page_size(request.page_size)?, token: request.page_token };
        let (clients, next_page_token) = self.records.list_clients(&caller, which, page).await?;
        let ids = ids_of(&clients);
        Ok(with_record_ids(ListClientsResponse { clients, next_page_token }, ids))
    }

    async fn batch_get_clients(
        &self,
        request: Request<BatchGetClientsRequest>,
    ) -> Result<Response<BatchGetClientsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let names = request.into_inner().clients;
        if names.len() > MAX_BATCH {
            let many = too_many("Clients", names.len(), MAX_BATCH).at("clients");
            return Err(ApiError::invalid(vec![many]).into());
        }
        let answer = self.records.clients(&caller, &names).await?;
        let ids = ids_of(&answer.clients);
        Ok(with_record_ids(answer, ids))
    }

    async fn update_client(
        &self,
        request: Request<UpdateClientRequest>,
    ) -> Result<Response<UpdateClientResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ClientUpdateClient, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, update::client(request))?;
        Ok(Response::new(self.records.update_client(caller, context, command).await?))
    }

    async fn link_client(
        &self,
        request: Request<LinkClientRequest>,
    ) -> Result<Response<LinkClientResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ClientLinkClient, request, |r| (&r.request_id, r.validate_only))?;
        let command = parse::link(request.client, &request.external_id);
        Ok(Response::new(self.records.link_client(caller, context?, command?).await?))
    }

    async fn unlink_client(
        &self,
        request: Request<UnlinkClientRequest>,
    ) -> Result<Response<UnlinkClientResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ClientUnlinkClient, request, |r| (&r.request_id, r.validate_only))?;
        Ok(Response::new(self.records.unlink_client(caller, context?, request.client).await?))
    }

    async fn list_client_links(
        &self,
        request: Request<ListClientLinksRequest>,
    ) -> Result<Response<ListClientLinksResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().client;
        let (client, listed) = self.records.client_links(&caller, &name).await?;
        let ListedLinks { links, left_out } = listed;
        Ok(with_record_ids(ListClientLinksResponse { links, left_out }, [client.text()]))
    }
}

fn ids_of(clients: &[Client]) -> Vec<String> {
    clients.iter().map(|client| client.id.clone()).collect()
}

/// Maximum number of clients of a `BatchGetClients`.
pub(super) const MAX_BATCH: usize = 100;

fn linked_product(text: &str) -> Result<Option<String>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let product: Result<Product, &str> = text.parse();
    let product = product
        .map_err(|text| ApiError::invalid_field("linked_product", ErrorReason::InvalidId, text))?;
    Ok(Some(product.to_string()))
}

fn command(request: &CreateClientRequest) -> Result<ClientCommand, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let draft = draft(&mut wrong, request);
    let individual = request.r#type == i32::from(ClientType::Individual);
    let person = person(&mut wrong, individual, request.individual.clone());
    let addresses = parse::addresses(&mut wrong, "addresses", &request.addresses);
    let external_id = parse::external_id(&mut wrong, "external_id", &request.external_id);
    let command = draft.map(|draft| ClientCommand {
        draft,
        person,
        addresses,
        external_id,
        warnings: parse::warnings(warnings(request)),
    });
    wrong.finish(command)
}

/// Values of a new client that are stored although they look wrong.
fn warnings(request: &CreateClientRequest) -> FieldViolations {
    let mut warnings = FieldViolations::new();
    let reference = &request.client_reference;
    warning::damaged(&mut warnings, "client_reference", "Client reference", reference);
    let names = [
        ("registered_name.name", "Registered name", &request.registered_name),
        ("trading_name.name", "Trading name", &request.trading_name),
    ];
    for (field, label, name) in names {
        let name = name.as_ref().map(|name| name.name.as_str());
        warning::of_text(&mut warnings, field, label, name.unwrap_or_default());
    }
    warnings.extend(parse::address_warnings("addresses", &request.addresses));
    warnings
}

fn draft(wrong: &mut FieldViolations, request: &CreateClientRequest) -> Option<ClientDraft> {
    let client_type = ClientType::from_wire(request.r#type);
    let client_type = client_type.and_then(|term| term.ok_or_else(|| blank("Client type")));
    let client_type = wrong.field("type", client_type);
    let jurisdiction = wrong.field("jurisdiction", Jurisdiction::from_wire(request.jurisdiction));
    let reference = wrong.field("client_reference", Reference::parse(&request.client_reference));
    let registered_name = request.registered_name.clone().unwrap_or_default();
    let registered_name = DatedName::parse(&registered_name, "Registered name");
    let registered_name = wrong.part("registered_name", registered_name).flatten();
    match (client_type, &registered_name) {
        (Some(ClientType::Individual), Some(_)) => wrong.push(
            "registered_name",
            ErrorReason::FieldNotApplicable,
            "The name of an individual is that of its person; leave this out",
        ),
        (Some(ClientType::Individual) | None, None) | (_, Some(_)) => {}
        (Some(_), None) if wrong.iter().any(|v| v.field.starts_with("registered_name")) => {}
        (Some(_), None) => wrong.add(blank("Registered name").at("registered_name.name")),
    }
    let trading_name = request.trading_name.clone().unwrap_or_default();
    let trading_name = DatedName::parse(&trading_name, "Trading name");
    let trading_name = wrong.part("trading_name", trading_name).flatten();
    let identifiers = request.identifiers.clone().unwrap_or_default();
    let law = jurisdiction.flatten().unwrap_or_default();
    let identifiers = wrong.part("identifiers", Identifiers::parse(&identifiers, law));
    let emails = wrong.part("emails", emails(&request.emails));
    let phones = wrong.part("phones", phones(&request.phones));
    Some(ClientDraft {
        client_type: client_type?,
        jurisdiction: jurisdiction?.unwrap_or_default(),
        reference: reference?,
        registered_name,
        trading_name,
        identifiers: identifiers?,
        emails: emails?,
        phones: phones?,
    })
}

fn person(
    wrong: &mut FieldViolations,
    individual: bool,
    given: Option<Individual>,
) -> Option<WhichPerson> {
    match given {
        Some(_) if !individual => {
            let text = "Only an individual is a person; leave this out";
            wrong.push("person", ErrorReason::FieldNotApplicable, text);
            None
        }
        Some(Individual::Person(person)) => {
            parse::person(wrong, "person", &person).map(|person| WhichPerson::New(Box::new(person)))
        }
        Some(Individual::PersonId(name)) => Some(WhichPerson::Existing(name)),
        None if individual => {
            wrong.add(blank("Person").at("person"));
            None
        }
        None => None,
    }
}
