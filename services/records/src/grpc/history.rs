//! `HistoryService`.

use concord_core::{
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    rules::{
        FieldViolations,
        date::{Period, parse_date},
        terms::Term as _,
        text::{MAX_NAME, blank, required},
        value::{Address, PersonName, Value},
    },
    status::ApiError,
};
use concord_proto::{
    pb::records::{
        AddEntryRequest, AddEntryResponse, AddPastEntryRequest, AddPastEntryResponse, AddressType,
        CancelScheduledEntryRequest, CancelScheduledEntryResponse, CorrectEntryRequest,
        CorrectEntryResponse, EndEntryRequest, EndEntryResponse, Entry, ErrorReason,
        ListEntriesRequest, ListEntriesResponse, RescindEntryRequest, RescindEntryResponse,
        Timeline, add_entry_request, add_past_entry_request, correct_entry_request,
        history_service_server::HistoryService,
    },
    rpc::Rpc,
};
use concord_server::with_record_ids;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Api,
    parse::{self, mutation},
};
use crate::{
    domain::timeline::{
        AddEntry, AddPastEntry, CancelScheduledEntry, CorrectEntry, EndEntry, RescindEntry,
        TimelineKey,
    },
    service::history::{HistoryAnswer, HistoryCommand, timeline_key},
};

/// Builds the response message of an RPC from the answer of the command.
macro_rules! respond {
    ($response:ident, $answer:expr) => {{
        let HistoryAnswer { outcome, entry, moved, change_ids } = $answer;
        Ok(Response::new($response { outcome, entry, moved, change_ids }))
    }};
}

#[tonic::async_trait]
impl HistoryService for Api {
    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let wanted = wanted(&request).map_err(ApiError::from)?;
        let (record, mut entries) = self.records.entries(&caller, &request.record).await?;
        entries.retain(wanted);
        Ok(with_record_ids(ListEntriesResponse { entries }, [record.text()]))
    }

    async fn add_entry(
        &self,
        request: Request<AddEntryRequest>,
    ) -> Result<Response<AddEntryResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::HistoryAddEntry, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, add(request))?;
        respond!(AddEntryResponse, self.records.change_history(caller, context, command).await?)
    }

    async fn correct_entry(
        &self,
        request: Request<CorrectEntryRequest>,
    ) -> Result<Response<CorrectEntryResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::HistoryCorrectEntry, request, |r| (&r.request_id, r.validate_only))?;
        let reason = parse::reason_if_given(&request.reason)?;
        let (context, command) = parse::both(context, correct(request))?;
        let context = context.with_reason(reason);
        respond!(CorrectEntryResponse, self.records.change_history(caller, context, command).await?)
    }

    async fn add_past_entry(
        &self,
        request: Request<AddPastEntryRequest>,
    ) -> Result<Response<AddPastEntryResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::HistoryAddPastEntry, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, add_past(request))?;
        respond!(AddPastEntryResponse, self.records.change_history(caller, context, command).await?)
    }

    async fn end_entry(
        &self,
        request: Request<EndEntryRequest>,
    ) -> Result<Response<EndEntryResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::HistoryEndEntry, request, |r| (&r.request_id, r.validate_only))?;
        let (context, command) = parse::both(context, end(request))?;
        respond!(EndEntryResponse, self.records.change_history(caller, context, command).await?)
    }

    async fn cancel_scheduled_entry(
        &self,
        request: Request<CancelScheduledEntryRequest>,
    ) -> Result<Response<CancelScheduledEntryResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::HistoryCancelScheduledEntry, request, |r| {
                (&r.request_id, r.validate_only)
            })?;
        let context = context?;
        let command = CancelScheduledEntry { id: entry_id(&request.entry)? };
        let command = HistoryCommand::Cancel(command, request.etag);
        let answer = self.records.change_history(caller, context, command).await?;
        respond!(CancelScheduledEntryResponse, answer)
    }

    async fn rescind_entry(
        &self,
        request: Request<RescindEntryRequest>,
    ) -> Result<Response<RescindEntryResponse>, Status> {
        let (caller, request, context) =
            mutation(Rpc::HistoryRescindEntry, request, |r| (&r.request_id, r.validate_only))?;
        let context = context?.with_reason(parse::reason(&request.reason)?);
        let command = RescindEntry { id: entry_id(&request.entry)? };
        let command = HistoryCommand::Rescind(command, request.etag);
        let answer = self.records.change_history(caller, context, command).await?;
        respond!(RescindEntryResponse, answer)
    }
}

fn add(request: AddEntryRequest) -> Result<HistoryCommand, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let timeline = key(&mut wrong, request.timeline, request.address_type);
    let value = match request.value {
        Some(add_entry_request::Value::Name(name)) => name_value(&mut wrong, &name),
        Some(add_entry_request::Value::PersonName(name)) => {
            wrong.part("", PersonName::parse(&name, "person_name")).map(Value::PersonName)
        }
        Some(add_entry_request::Value::Address(address)) => {
            wrong.part("", Address::parse(&address, "address")).map(Value::Address)
        }
        None => missing_value(&mut wrong),
    };
    let effective_on = wrong.field("effective_date", parse_date(&request.effective_date)).flatten();
    let external_id = parse::external_id(&mut wrong, "external_id", &request.external_id);
    let command = timeline.zip(value).map(|(timeline, value)| HistoryCommand::Add {
        record: request.record,
        timeline,
        command: AddEntry { id: new_uuid(), value, effective_on },
        current_etag: request.current_etag,
        external_id,
    });
    wrong.finish(command)
}

fn add_past(request: AddPastEntryRequest) -> Result<HistoryCommand, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let timeline = key(&mut wrong, request.timeline, request.address_type);
    let value = match request.value {
        Some(add_past_entry_request::Value::Name(name)) => name_value(&mut wrong, &name),
        Some(add_past_entry_request::Value::PersonName(name)) => {
            wrong.part("", PersonName::parse(&name, "person_name")).map(Value::PersonName)
        }
        Some(add_past_entry_request::Value::Address(address)) => {
            wrong.part("", Address::parse(&address, "address")).map(Value::Address)
        }
        None => missing_value(&mut wrong),
    };
    let period = period(&mut wrong, &request.active_from, &request.active_to);
    let external_id = parse::external_id(&mut wrong, "external_id", &request.external_id);
    let parts = timeline.zip(value).zip(period);
    let command = parts.map(|((timeline, value), period)| HistoryCommand::AddPast {
        record: request.record,
        timeline,
        command: AddPastEntry { id: new_uuid(), value, period, trim: request.trim },
        record_etag: request.etag,
        external_id,
    });
    wrong.finish(command)
}

fn correct(request: CorrectEntryRequest) -> Result<HistoryCommand, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let id = wrong_id(&mut wrong, &request.entry);
    let has = |field: &str| request.fields.iter().any(|named| named == field);
    let known = ["value", "active_from", "active_to"];
    if request.fields.is_empty() || request.fields.iter().any(|f| !known.contains(&f.as_str())) {
        let text = "say what is to be corrected: value, active_from, active_to";
        wrong.push("fields", ErrorReason::InvalidMask, text);
    }
    let value = match request.value {
        _ if !has("value") => None,
        Some(correct_entry_request::Value::Name(name)) => name_value(&mut wrong, &name),
        Some(correct_entry_request::Value::PersonName(name)) => {
            wrong.part("", PersonName::parse(&name, "person_name")).map(Value::PersonName)
        }
        Some(correct_entry_request::Value::Address(address)) => {
            wrong.part("", Address::parse(&address, "address")).map(Value::Address)
        }
        None => missing_value(&mut wrong),
    };
    let from = wrong.field("active_from", parse_date(&request.active_from)).flatten();
    let to = wrong.field("active_to", parse_date(&request.active_to)).flatten();
    let dates = (has("active_from").then_some(from), has("active_to").then_some(to));
    let command = id.map(|id| HistoryCommand::Correct {
        command: CorrectEntry { id, value, period: None, correct_history: request.correct_history },
        dates,
        etag: request.etag,
    });
    wrong.finish(command)
}

fn end(request: EndEntryRequest) -> Result<HistoryCommand, FieldViolations> {
    let mut wrong = FieldViolations::new();
    let id = wrong_id(&mut wrong, &request.entry);
    let ended_on = wrong.field("active_to", parse_date(&request.active_to)).flatten();
    let command = id.map(|id| HistoryCommand::End(EndEntry { id, ended_on }, request.etag));
    wrong.finish(command)
}

fn key(wrong: &mut FieldViolations, timeline: i32, address_type: i32) -> Option<TimelineKey> {
    let timeline = wrong.field("timeline", Timeline::from_wire(timeline));
    let address_type = wrong.field("address_type", AddressType::from_wire(address_type));
    match timeline_key(timeline?, address_type?) {
        Ok(key) => Some(key),
        Err((field, reason, text)) => {
            wrong.push(field, reason, text);
            None
        }
    }
}

fn name_value(wrong: &mut FieldViolations, name: &str) -> Option<Value> {
    wrong.field("name", required("Name", name, MAX_NAME)).map(Value::Name)
}

fn missing_value(wrong: &mut FieldViolations) -> Option<Value> {
    wrong.add(blank("Value").at("value"));
    None
}

fn period(wrong: &mut FieldViolations, from: &str, to: &str) -> Option<Period> {
    let from = wrong.field("active_from", parse_date(from));
    let to = wrong.field("active_to", parse_date(to));
    Some(Period::new(from?, to?))
}

fn wrong_id(wrong: &mut FieldViolations, text: &str) -> Option<Uuid> {
    let id = ids::parse(IdKind::Entry, text);
    if id.is_none() {
        wrong.push("entry", ErrorReason::InvalidId, NOT_AN_ENTRY);
    }
    id
}

fn entry_id(text: &str) -> Result<Uuid, ApiError> {
    ids::parse(IdKind::Entry, text)
        .ok_or_else(|| ApiError::invalid_field("entry", ErrorReason::InvalidId, NOT_AN_ENTRY))
}

const NOT_AN_ENTRY: &str = "does not name an entry: use an id such as ent_0197…";

/// The filter of a list of entries.
fn wanted(
    request: &ListEntriesRequest,
) -> Result<impl Fn(&Entry) -> bool + use<>, FieldViolations> {
    let mut wrong = FieldViolations::new();
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
