//! `ContactService`.

use shared::{
    caller::Caller,
    page::page_size,
    pb::records::{
        CreateContactRequest, CreateContactResponse, ListContactsRequest, ListContactsResponse,
        contact_service_server::ContactService, create_contact_request::Who,
        list_contacts_request::Of,
    },
    rules::{Violations, text::blank},
    status::Refusal,
};
use tonic::{Request, Response, Status};

use super::{Api, parse};
use crate::service::{
    contacts::{ContactCommand, OfWhat},
    create::WhichPerson,
    reading::PageRequest,
};

#[tonic::async_trait]
impl ContactService for Api {
    async fn create_contact(
        &self,
        request: Request<CreateContactRequest>,
    ) -> Result<Response<CreateContactResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let intent = Intent::parse(
            Rpc::ContactCreateContact,
            &request,
            &request.request_id,
            request.validate_only,
        )?;
        let command = command(request).map_err(Refusal::from)?;
        Ok(Response::new(self.records.create_contact(caller, intent, command).await?))
    }

    async fn list_contacts(
        &self,
        request: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page = PageRequest { size: page_size(request.page_size)?, token: request.page_token };
        let of = match request.of {
            Some(Of::Client(name)) => OfWhat::Client(name),
            Some(Of::Person(name)) => OfWhat::Person(name),
            None => {
                let missing = blank("Client or person").at("client");
                return Err(Refusal::invalid(vec![missing]).into());
            }
        };
        let (contacts, next_page_token) = self.records.list_contacts(&caller, of, page).await?;
        Ok(Response::new(ListContactsResponse { contacts, next_page_token }))
    }
}

fn command(request: CreateContactRequest) -> Result<ContactCommand, Violations> {
    let mut wrong = Violations::new();
    let CreateContactRequest { client, who, roles, is_primary, external_id, .. } = request;
    if client.trim().is_empty() {
        wrong.add(blank("Client").at("client"));
    }
    let person = match who {
        Some(Who::Person(person)) => {
            parse::person(&mut wrong, "person", &person).map(WhichPerson::New)
        }
        Some(Who::PersonId(name)) => Some(WhichPerson::Existing(name)),
        None => {
            wrong.add(blank("Person").at("person"));
            None
        }
    };
    let roles = parse::roles(&mut wrong, &roles);
    let external_id = parse::external_id(&mut wrong, "external_id", &external_id);
    let command =
        person.map(|person| ContactCommand { client, person, roles, is_primary, external_id });
    wrong.finish(command)
}
