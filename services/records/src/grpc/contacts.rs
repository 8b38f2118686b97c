//! `ContactService`.

use concord_core::{
    caller::Caller,
    page::page_size,
    rules::{
        FieldViolations,
        date::parse_date,
        text::{blank, is_blank},
    },
    status::ApiError,
};
use concord_proto::{
    pb::records::{
        AddRoleRequest, AddRoleResponse, ContactRole, CreateContactRequest, CreateContactResponse,
        EndRoleRequest, EndRoleResponse, GetContactRequest, GetContactResponse,
        ListContactsRequest, ListContactsResponse, RemoveContactRequest, RemoveContactResponse,
        UpdateContactRequest, UpdateContactResponse, UpdateRoleRequest, UpdateRoleResponse,
        contact_service_server::ContactService, create_contact_request::Who,
        list_contacts_request::Of,
    },
    rpc::Rpc,
};
use concord_server::with_record_ids;
use tonic::{Request, Response, Status};

use super::{
    Api,
    parse::{self, mutation},
};
use crate::{
    domain::record::HeldRole,
    service::{
        contact_edits::{ContactEdit, ContactEditCommand},
        contacts::ContactCommand,
        create::WhichPerson,
        reading::{ContactsOf, PageRequest},
    },
};

#[tonic::async_trait]
impl ContactService for Api {
    async fn create_contact(
        &self,
        request: Request<CreateContactRequest>,
    ) -> Result<Response<CreateContactResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ContactCreateContact, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, command(request))?;
        Ok(Response::new(self.records.create_contact(caller, context, command).await?))
    }

    async fn list_contacts(
        &self,
        request: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page = PageRequest { size: page_size(request.page_size)?, token: request.page_token };
        let of = match request.of {
            Some(Of::Client(name)) => ContactsOf::Client(name),
            Some(Of::Person(name)) => ContactsOf::Person(name),
            None => {
                let missing = blank("Client or person").at("client");
                return Err(ApiError::invalid(vec![missing]).into());
            }
        };
        let (contacts, next_page_token) = self.records.list_contacts(&caller, of, page).await?;
        let ids = contacts.iter().filter_map(|with| with.contact.as_ref());
        let ids: Vec<String> = ids.map(|contact| contact.id.clone()).collect();
        Ok(with_record_ids(ListContactsResponse { contacts, next_page_token }, ids))
    }

    async fn get_contact(
        &self,
        request: Request<GetContactRequest>,
    ) -> Result<Response<GetContactResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let id = request.into_inner().contact;
        let (contact, person) = self.records.contact(&caller, &id).await?;
        let person_id = person.as_ref().map(|person| person.id.clone());
        let ids = [contact.id.clone()].into_iter().chain(person_id);
        Ok(with_record_ids(GetContactResponse { contact: Some(contact), person }, ids))
    }

    async fn update_contact(
        &self,
        request: Request<UpdateContactRequest>,
    ) -> Result<Response<UpdateContactResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ContactUpdateContact, request, |r| (&r.request_id, r.validate_only))?;
        let edit = ContactEdit::Primary(request.is_primary);
        let command = ContactEditCommand { contact: request.contact, etag: request.etag };
        let UpdateContactResponse { contact, change_ids } =
            self.records.edit_contact(caller, context?, command, edit).await?;
        Ok(Response::new(UpdateContactResponse { contact, change_ids }))
    }

    async fn add_role(
        &self,
        request: Request<AddRoleRequest>,
    ) -> Result<Response<AddRoleResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ContactAddRole, request, |r| (&r.request_id, r.validate_only))?;
        let context = context?;
        let edit = ContactEdit::AddRole(role(0, &request.role.unwrap_or_default())?);
        let command = ContactEditCommand { contact: request.contact, etag: request.etag };
        let UpdateContactResponse { contact, change_ids } =
            self.records.edit_contact(caller, context, command, edit).await?;
        Ok(Response::new(AddRoleResponse { contact, change_ids }))
    }

    async fn update_role(
        &self,
        request: Request<UpdateRoleRequest>,
    ) -> Result<Response<UpdateRoleResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ContactUpdateRole, request, |r| (&r.request_id, r.validate_only))?;
        let context = context?;
        let role = role(request.number, &request.role.unwrap_or_default())?;
        let edit = ContactEdit::CorrectRole(role);
        let command = ContactEditCommand { contact: request.contact, etag: request.etag };
        let UpdateContactResponse { contact, change_ids } =
            self.records.edit_contact(caller, context, command, edit).await?;
        Ok(Response::new(UpdateRoleResponse { contact, change_ids }))
    }

    async fn end_role(
        &self,
        request: Request<EndRoleRequest>,
    ) -> Result<Response<EndRoleResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ContactEndRole, request, |r| (&r.request_id, r.validate_only))?;
        let context = context?;
        let day = parse_date(&request.resigned_on)
            .map_err(|problem| ApiError::invalid(vec![problem.at("resigned_on")]))?;
        let edit = ContactEdit::EndRole(request.number, day);
        let command = ContactEditCommand { contact: request.contact, etag: request.etag };
        let UpdateContactResponse { contact, change_ids } =
            self.records.edit_contact(caller, context, command, edit).await?;
        Ok(Response::new(EndRoleResponse { contact, change_ids }))
    }

    async fn remove_contact(
        &self,
        request: Request<RemoveContactRequest>,
    ) -> Result<Response<RemoveContactResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::ContactRemoveContact, request, |r| (&r.request_id, r.validate_only))?;
        let command = ContactEditCommand { contact: request.contact, etag: request.etag };
        Ok(Response::new(self.records.remove_contact(caller, context?, command).await?))
    }
}

/// A role that a request gives.
fn role(number: i32, role: &ContactRole) -> Result<HeldRole, ApiError> {
    let mut wrong = FieldViolations::new();
    let held = parse::held_role(&mut wrong, "role", number, role);
    wrong.finish(held).map_err(ApiError::from)
}

fn command(request: CreateContactRequest) -> Result<ContactCommand, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let CreateContactRequest { client, who, roles, is_primary, external_id, .. } = request;
    if is_blank(&client) {
        wrong.add(blank("Client").at("client"));
    }
    let person = match who {
        Some(Who::Person(person)) => parse::person(&mut wrong, "person", &person)
            .map(|person| WhichPerson::New(Box::new(person))),
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
