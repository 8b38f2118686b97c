//! `PersonService`.

use concord_core::{caller::Caller, page::page_size, rules::FieldViolations};
use concord_proto::{
    pb::records::{
        CreatePersonRequest, CreatePersonResponse, GetPersonRequest, GetPersonResponse,
        LinkPersonRequest, LinkPersonResponse, ListPersonsRequest, ListPersonsResponse,
        UnlinkPersonRequest, UnlinkPersonResponse, UpdatePersonRequest, UpdatePersonResponse,
        person_service_server::PersonService,
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
use crate::service::{create::PersonCommand, reading::PageRequest};

#[tonic::async_trait]
impl PersonService for Api {
    async fn create_person(
        &self,
        request: Request<CreatePersonRequest>,
    ) -> Result<Response<CreatePersonResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::PersonCreatePerson, request, |r| (&r.request_id, r.validate_only))?;
        let (context, (command, external_id)) = parse::both(context, command(&request))?;
        let created = self.records.create_person(caller, context, command, external_id).await?;
        Ok(Response::new(created))
    }

    async fn get_person(
        &self,
        request: Request<GetPersonRequest>,
    ) -> Result<Response<GetPersonResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let name = request.into_inner().person;
        let person = self.records.person(&caller, &name).await?;
        let id = person.id.clone();
        Ok(with_record_ids(GetPersonResponse { person: Some(person) }, [id]))
    }

    async fn list_persons(
        &self,
        request: Request<ListPersonsRequest>,
    ) -> Result<Response<ListPersonsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page = PageRequest { size: page_size(request.page_size)?, token: request.page_token };
        let (persons, next_page_token) =
            self.records.list_persons(&caller, request.show_orphaned, page).await?;
        let ids: Vec<String> = persons.iter().map(|person| person.id.clone()).collect();
        Ok(with_record_ids(ListPersonsResponse { persons, next_page_token }, ids))
    }

    async fn update_person(
        &self,
        request: Request<UpdatePersonRequest>,
    ) -> Result<Response<UpdatePersonResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::PersonUpdatePerson, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, update::person(request))?;
        Ok(Response::new(self.records.update_person(caller, context, command).await?))
    }

    async fn link_person(
        &self,
        request: Request<LinkPersonRequest>,
    ) -> Result<Response<LinkPersonResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::PersonLinkPerson, request, |r| (&r.request_id, r.validate_only))?;
        let command = parse::link(request.person, &request.external_id);
        Ok(Response::new(self.records.link_person(caller, context?, command?).await?))
    }

    async fn unlink_person(
        &self,
        request: Request<UnlinkPersonRequest>,
    ) -> Result<Response<UnlinkPersonResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::PersonUnlinkPerson, request, |r| (&r.request_id, r.validate_only))?;
        Ok(Response::new(self.records.unlink_person(caller, context?, request.person).await?))
    }
}

fn command(
    request: &CreatePersonRequest,
) -> Result<(PersonCommand, Option<String>), FieldViolations> {
    let mut wrong = FieldViolations::new();
    let person = request.person.clone().unwrap_or_default();
    let person = parse::person(&mut wrong, "person", &person);
    let external_id = parse::external_id(&mut wrong, "external_id", &request.external_id);
    wrong.finish(person.map(|person| (person, external_id)))
}
