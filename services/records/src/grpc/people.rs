//! `PersonService`.

use shared::{
    access::Rpc,
    caller::Caller,
    page::page_size,
    pb::records::{
        CreatePersonRequest, CreatePersonResponse, GetPersonRequest, GetPersonResponse,
        LinkPersonRequest, LinkPersonResponse, ListPersonsRequest, ListPersonsResponse,
        UnlinkPersonRequest, UnlinkPersonResponse, UpdatePersonRequest, UpdatePersonResponse,
        person_service_server::PersonService,
    },
    rules::Violations,
    server::reading,
};
use tonic::{Request, Response, Status};

use super::{Api, parse, update};
use crate::service::{create::PersonCommand, intent::Intent, reading::PageRequest};

#[tonic::async_trait]
impl PersonService for Api {
    async fn create_person(
        &self,
        request: Request<CreatePersonRequest>,
    ) -> Result<Response<CreatePersonResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let intent = Intent::parse(
            Rpc::PersonCreatePerson,
            &request,
            &request.request_id,
            request.validate_only,
        );
        let (intent, (command, external_id)) = parse::both(intent, command(&request))?;
        let created = self.records.create_person(caller, intent, command, external_id).await?;
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
        Ok(reading(GetPersonResponse { person: Some(person) }, [id]))
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
        Ok(reading(ListPersonsResponse { persons, next_page_token }, ids))
    }

    async fn update_person(
        &self,
        request: Request<UpdatePersonRequest>,
    ) -> Result<Response<UpdatePersonResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let intent = Intent::parse(
            Rpc::PersonUpdatePerson,
            &request,
            &request.request_id,
            request.validate_only,
        );
        let (intent, command) = parse::both(intent, update::person(request))?;
        Ok(Response::new(self.records.update_person(caller, intent, command).await?))
    }

    async fn link_person(
        &self,
        request: Request<LinkPersonRequest>,
    ) -> Result<Response<LinkPersonResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let intent = Intent::parse(
            Rpc::PersonLinkPerson,
            &request,
            &request.request_id,
            request.validate_only,
        )?;
        let command = parse::link(request.person, &request.external_id)?;
        Ok(Response::new(self.records.link_person(caller, intent, command).await?))
    }

    async fn unlink_person(
        &self,
        request: Request<UnlinkPersonRequest>,
    ) -> Result<Response<UnlinkPersonResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let intent = Intent::parse(
            Rpc::PersonUnlinkPerson,
            &request,
            &request.request_id,
            request.validate_only,
        )?;
        Ok(Response::new(self.records.unlink_person(caller, intent, request.person).await?))
    }
}

fn command(request: &CreatePersonRequest) -> Result<(PersonCommand, Option<String>), Violations> {
    let mut wrong = Violations::new();
    let person = request.person.clone().unwrap_or_default();
    let person = parse::person(&mut wrong, "person", &person);
    let external_id = parse::external_id(&mut wrong, "external_id", &request.external_id);
    wrong.finish(person.map(|person| (person, external_id)))
}
