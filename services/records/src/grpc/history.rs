//! `HistoryService`.

use shared::{
    caller::Caller,
    pb::records::{
        AddressType, Entry, ErrorReason, ListEntriesRequest, ListEntriesResponse, Timeline,
        history_service_server::HistoryService,
    },
    rules::{Violations, terms::Term as _},
    status::Refusal,
};
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl HistoryService for Api {
    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let wanted = wanted(&request).map_err(Refusal::from)?;
        let mut entries = self.records.entries(&caller, &request.record).await?;
        entries.retain(wanted);
        Ok(Response::new(ListEntriesResponse { entries }))
    }
}

/// Which entries are asked for.
fn wanted(request: &ListEntriesRequest) -> Result<impl Fn(&Entry) -> bool + use<>, Violations> {
    let mut wrong = Violations::new();
    let timeline = wrong.field("timeline", Timeline::from_wire(request.timeline)).flatten();
    let address_type = AddressType::from_wire(request.address_type);
    let address_type = wrong.field("address_type", address_type).flatten();
    if address_type.is_some() && timeline != Some(Timeline::Address) {
        let text = "Needs the timeline to be ADDRESS";
        wrong.push("address_type", ErrorReason::FieldNotApplicable, text);
    }
    let wanted = move |entry: &Entry| {
        timeline.is_none_or(|timeline| entry.timeline == i32::from(timeline))
            && address_type.is_none_or(|kind| entry.address_type == i32::from(kind))
    };
    wrong.finish(Some(wanted))
}
