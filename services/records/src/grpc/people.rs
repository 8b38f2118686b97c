//! `PersonService`.

use shared::{
    caller::Caller,
    pb::records::{
        CreatePersonRequest, CreatePersonResponse, GetPersonRequest, GetPersonResponse,
        person_service_server::PersonService,
    },
    rules::Violations,
    status::Refusal,
};
use tonic::{Request, Response, Status};

use super::{Api, parse};
use crate::service::create::PersonCommand;

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
        )?;
        let (command, external_id) = command(&request).map_err(Refusal::from)?;
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
        Ok(Response::new(GetPersonResponse { person: Some(person) }))
    }
}

fn command(request: &CreatePersonRequest) -> Result<(PersonCommand, Option<String>), Violations> {
    let mut wrong = Violations::new();
    let person = request.person.clone().unwrap_or_default();
    let person = parse::person(&mut wrong, "person", &person);
    let external_id = parse::external_id(&mut wrong, "external_id", &request.external_id);
    wrong.finish(person.map(|person| (person, external_id)))
}
