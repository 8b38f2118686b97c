//! `ChangeService`.

use shared::{
    caller::Listener,
    pb::records::{
        EchoMode, ErrorReason, RecordKind, SubscribeRequest, SubscribeResponse,
        change_service_server::ChangeService,
    },
    status::Refusal,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use crate::feed::subscriber::{self, Filter, Start};

#[tonic::async_trait]
impl ChangeService for Api {
    type SubscribeStream = ReceiverStream<Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let listener = Listener::of(request.extensions())?;
        let request = request.into_inner();
        let start = Start::parse(request.start_from, &request.cursor)?;
        let filter = filter(&request)?;
        let messages = subscriber::open(&self.records.feed, listener, start, filter).await?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

fn filter(request: &SubscribeRequest) -> Result<Filter, Refusal> {
    let unknown =
        |field: &str, text: &str| Refusal::invalid_field(field, ErrorReason::UnknownValue, text);
    let echo = EchoMode::try_from(request.echo_mode)
        .map_err(|_| unknown("echo_mode", "is not known; use SUPPRESS, MARK or INCLUDE"))?;
    let kind = |kind: &i32| match RecordKind::try_from(*kind) {
        Ok(RecordKind::Unspecified) | Err(_) => {
            Err(unknown("record_kinds", "is not known; use CLIENT, PERSON or CONTACT"))
        }
        Ok(kind) => Ok(kind),
    };
    Ok(Filter {
        echo: if echo == EchoMode::Unspecified { EchoMode::Suppress } else { echo },
        kinds: request.record_kinds.iter().map(kind).collect::<Result<_, _>>()?,
        linked_only: request.linked_only,
    })
}
