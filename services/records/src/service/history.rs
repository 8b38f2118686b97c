//! The commands on timelines: history and corrections.
//!
//! Each command opens the record, checks the etag, lets the timeline decide, and writes
//! the decision.

use chrono::NaiveDate;
use concord_core::{
    access::Role,
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    rules::date::{Period, date_text},
    status::ApiError,
};
use concord_proto::pb::records::{
    self as pb, ChangeKind, ClientType, ErrorReason, HistoryOutcome, Timeline as PbTimeline,
};
use serde_json::{Value as Json, json};
use tonic::Code;
use uuid::Uuid;

use super::{
    Records, create,
    links::append,
    open::{self, OpenClient, OpenPerson, check_etag},
    request_context::RequestContext,
    save::{self, Names},
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::{Authorship, Change},
        link::LinkKind,
        record::{RecordMeta, RecordRef},
        timeline::{
            AddEntry, AddPastEntry, CancelScheduledEntry, CorrectEntry, Decision, EndEntry, Entry,
            EntryEvent, EventKind, MAX_ENTRIES, Outcome, RescindEntry, StatusCorrection, Timeline,
            TimelineError, TimelineKey,
        },
    },
    error::RecordError,
    image,
    store::{
        audit::{self, AuditRow},
        changes::Recipients,
        entries, links,
    },
};

/// The start and the end of a correction; the outer option is `None` when a date was not
/// given.
pub(crate) type GivenDates = (Option<Option<NaiveDate>>, Option<Option<NaiveDate>>);

/// A command on a timeline, with the etag that it is checked against.
#[derive(Clone, Debug)]
pub(crate) enum HistoryCommand {
    Add {
        record: String,
        timeline: TimelineKey,
        command: AddEntry,
        current_etag: String,
        external_id: Option<String>,
    },
    AddPast {
        record: String,
        timeline: TimelineKey,
        command: AddPastEntry,
        record_etag: String,
        external_id: Option<String>,
    },
    /// A correction. Dates that were not given do not change.
    Correct {
        command: CorrectEntry,
        dates: GivenDates,
        etag: String,
    },
    End(EndEntry, String),
    Cancel(CancelScheduledEntry, String),
    Rescind(RescindEntry, String),
}

/// The answer of a command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoryAnswer {
    /// A [`HistoryOutcome`].
    #[prost(enumeration = "HistoryOutcome", tag = "1")]
    pub(crate) outcome: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) entry: Option<pb::Entry>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) moved: Vec<pb::Entry>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) change_ids: Vec<String>,
}

/// An opened client or person.
enum Open {
    Client(OpenClient),
    Person(OpenPerson),
}

impl Open {
    fn record(&self) -> RecordRef {
        match self {
            Self::Client(open) => RecordRef::client(open.client.id),
            Self::Person(open) => RecordRef::person(open.person.id),
        }
    }

    fn entries(&mut self) -> &mut Vec<Entry> {
        match self {
            Self::Client(open) => &mut open.entries,
            Self::Person(open) => &mut open.entries,
        }
    }

    fn meta(&mut self) -> &mut RecordMeta {
        match self {
            Self::Client(open) => &mut open.client.meta,
            Self::Person(open) => &mut open.person.meta,
        }
    }

    /// The record whose image goes with a change of this one.
    fn companions(&self) -> Option<RecordRef> {
        match self {
            Self::Client(open) => open.client.person_id.map(RecordRef::person),
            Self::Person(_) => None,
        }
    }

    fn etag(&self, work: &UnitOfWork) -> String {
        match self {
            Self::Client(open) => open.image(work).etag,
            Self::Person(open) => open.image(work).etag,
        }
    }

    async fn save(self, work: &UnitOfWork, names: Names) -> Result<(), RecordError> {
        match self {
            Self::Client(open) => save::client(work, open, names).await.map(drop),
            Self::Person(open) => save::person(work, open, names).await.map(drop),
        }
    }
}

impl Records {
    /// Runs a command on a timeline.
    pub(crate) async fn change_history(
        &self,
        caller: Caller,
        context: RequestContext,
        command: HistoryCommand,
    ) -> Result<HistoryAnswer, RecordError> {
        check_role(&caller, &command)?;
        let changed = self.mutate(caller, context, command, move |work, command| async move {
            change(&work, &command).await
        });
        changed.await
    }

    /// Writes the status changes of a new day on the timelines of one record. Called by the
    /// background job that runs after midnight.
    pub(crate) async fn roll_over(&self, system: Caller, owner: Uuid) -> Result<(), RecordError> {
        self.write(system, owner, move |work, owner| async move {
            let Some(mut open) = open_by_id(&work, *owner).await? else {
                return check_no_entries(&work, *owner).await;
            };
            let recipients = Recipients::everyone(work.db(), &work.caller.practice).await?;
            let mut keys: Vec<TimelineKey> = open.entries().iter().map(|e| e.timeline).collect();
            keys.sort();
            keys.dedup();
            let (mut names, mut rolled_over) = (Names::Same, false);
            for key in keys {
                let before = open.entries().clone();
                let (_, rollover) =
                    Timeline::on(work.at.today, open.record().id, key, before.clone());
                if rollover.edits.is_empty() {
                    continue;
                }
                rolled_over = true;
                names = if is_name(key) { Names::Changed } else { names };
                write_decision(&work, &mut open, &rollover, work.author(), &recipients).await?;
            }
            if rolled_over { open.save(&work, names).await } else { Ok(()) }
        })
        .await
    }
}

/// Checks the role for a correction of a past entry: owner or admin.
fn check_role(caller: &Caller, command: &HistoryCommand) -> Result<(), ApiError> {
    let HistoryCommand::Correct { command: CorrectEntry { correct_history: true, .. }, .. } =
        command
    else {
        return Ok(());
    };
    if is_owner_or_admin(caller) {
        return Ok(());
    }
    let text = "correct_history needs one of the roles owner, admin; leave it out when the entry \
        has not ended";
    Err(role_not_allowed(text))
}

fn is_owner_or_admin(caller: &Caller) -> bool {
    caller.roles.iter().any(|role| matches!(role, Role::Owner | Role::Admin))
}

fn role_not_allowed(text: impl Into<String>) -> ApiError {
    ApiError::new(Code::PermissionDenied, ErrorReason::RoleNotAllowed, text)
}

/// Checks whether the caller may change the past as decided. Only owners and admins may
/// correct a status that another product set, and shorten a past entry by `trim`.
async fn check_past(
    work: &UnitOfWork,
    record: RecordRef,
    timeline: &Timeline,
    command: &HistoryCommand,
    decision: &Decision,
) -> Result<(), RecordError> {
    if is_owner_or_admin(&work.caller) {
        return Ok(());
    }
    match command {
        HistoryCommand::AddPast { .. } => {
            let Some(past) = timeline.redated_past_entry(decision) else { return Ok(()) };
            let past = ids::text(IdKind::Entry, past);
            let text = format!(
                "trim would shorten {past}, which is past: ask an owner or admin, or give dates \
                 that do not overlap it"
            );
            Err(role_not_allowed(text).with("entries", past).into())
        }
        HistoryCommand::Correct { command, dates, .. } => {
            let command =
                with_dates(timeline, command, *dates).map_err(|error| to_api_error(&error))?;
            let status_correction =
                timeline.status_correction(&command).map_err(|error| to_api_error(&error))?;
            let Some(status_correction) = status_correction else { return Ok(()) };
            if status_correction.is_last
                && is_own_status_change(work, record, command.id, status_correction).await?
            {
                return Ok(());
            }
            let entry = ids::text(IdKind::Entry, command.id);
            let text = format!(
                "whether {entry} has ended or begun is corrected by staff of the product that \
                 said so, while no other entry follows: ask an owner or admin to call \
                 CorrectEntry, or call AddEntry when the world changed"
            );
            Err(role_not_allowed(text).with("entries", entry).into())
        }
        _ => Ok(()),
    }
}

/// True if the caller's product made the changes that the correction reverts.
async fn is_own_status_change(
    work: &UnitOfWork,
    record: RecordRef,
    entry: Uuid,
    status_correction: StatusCorrection,
) -> Result<bool, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let changes = audit::of_entries(db, practice, record.id).await?;
    let own = |field: &str| {
        let set = changes.iter().find(|row| set_date(row, entry, field));
        set.is_some_and(|row| row.product == work.caller.product.as_str())
    };
    Ok((!status_correction.ended || own(ACTIVE_TO))
        && (!status_correction.begun || own(ACTIVE_FROM)))
}

/// True if a change set the date `field` of an entry. The latest such change gave the
/// entry its present date.
fn set_date(row: &AuditRow, entry: Uuid, field: &str) -> bool {
    let created = matches!(
        row.kind,
        ChangeKind::Created | ChangeKind::EntryAdded | ChangeKind::EntryScheduled
    );
    if created && row.entry_id.is_none_or(|id| id == entry) {
        return true;
    }
    let date = |values: &Option<String>| {
        let values: Json = serde_json::from_str(values.as_deref()?).ok()?;
        let id = ids::text(IdKind::Entry, entry);
        let mut entries = values.get("entries")?.as_array()?.iter();
        let entry = entries.find(|entry| entry.get("id").and_then(Json::as_str) == Some(&id))?;
        Some(entry.get(field)?.as_str()?.to_owned())
    };
    date(&row.after).is_some_and(|after| date(&row.before) != Some(after))
}

const ACTIVE_FROM: &str = "active_from";
const ACTIVE_TO: &str = "active_to";

async fn change(
    work: &UnitOfWork,
    command: &HistoryCommand,
) -> Result<Answer<HistoryAnswer>, RecordError> {
    let recipients = work.recipients().await?;
    let (mut open, key) = open_for(work, command).await?;
    let record = open.record();
    let before = open.entries().clone();
    let (timeline, rollover) = Timeline::on(work.at.today, record.id, key, before);
    if !rollover.edits.is_empty() {
        let system = Caller::system(work.caller.practice.clone());
        let author = Authorship { caller: &system, request_id: None, reason: "", ..work.author() };
        write_decision(work, &mut open, &rollover, author, &recipients).await?;
    }
    check_etags(work, &open, &timeline, command).await?;
    let decision = decide(&timeline, command).map_err(|error| to_api_error(&error))?;
    check_past(work, record, &timeline, command, &decision).await?;
    if timeline.apply(&decision).entries().len() > timeline.entries().len()
        && open.entries().len() >= MAX_ENTRIES
    {
        return Err(too_many_entries().into());
    }
    let changes = write_decision(work, &mut open, &decision, work.author(), &recipients).await?;
    link_entry(work, command, &decision).await?;
    let response = answer(work, &mut open, &timeline, &decision, changes);
    if !decision.edits.is_empty() || !rollover.edits.is_empty() {
        let names = if is_name(key) { Names::Changed } else { Names::Same };
        open.save(work, names).await?;
    }
    Ok(Answer { response, record: record.id })
}

/// Opens the record of the command. Returns the key of the timeline too.
async fn open_for(
    work: &UnitOfWork,
    command: &HistoryCommand,
) -> Result<(Open, TimelineKey), RecordError> {
    match command {
        HistoryCommand::Add { record, timeline, .. }
        | HistoryCommand::AddPast { record, timeline, .. } => {
            let open = open_named(work, record).await?;
            check_timeline(&open, *timeline)?;
            Ok((open, *timeline))
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, .. }
        | HistoryCommand::End(EndEntry { id, .. }, _)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, _)
        | HistoryCommand::Rescind(RescindEntry { id }, _) => open_entry(work, *id).await,
    }
}

async fn open_named(work: &UnitOfWork, name: &str) -> Result<Open, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let record = super::resolve::client_or_person(db, practice, "record", name).await?;
    let text = record.text();
    match record.kind {
        pb::RecordKind::Person => {
            Ok(Open::Person(open::linked_person(work, "record", &text).await?))
        }
        _ => Ok(Open::Client(open::linked_client(work, "record", &text).await?)),
    }
}

/// The record of an entry, and the entry's timeline.
async fn open_entry(work: &UnitOfWork, id: Uuid) -> Result<(Open, TimelineKey), RecordError> {
    let missing = || ApiError::not_found("entry", &ids::text(IdKind::Entry, id));
    let owner = entries::owner(work.db(), &work.caller.practice, id).await?;
    let owner = owner.ok_or_else(missing)?;
    let client = RecordRef::client(owner).text();
    let mut open = match open_by_id(work, owner).await?.ok_or_else(missing)? {
        Open::Client(_) => Open::Client(open::linked_client(work, "entry", &client).await?),
        Open::Person(_) => {
            let person = RecordRef::person(owner).text();
            Open::Person(open::linked_person(work, "entry", &person).await?)
        }
    };
    let entry = open.entries().iter().find(|entry| entry.id == id);
    let key = entry.ok_or_else(missing)?.timeline;
    Ok((open, key))
}

async fn open_by_id(work: &UnitOfWork, owner: Uuid) -> Result<Option<Open>, RecordError> {
    if let Some(open) = open::client_by_id(work, owner).await? {
        return Ok(Some(Open::Client(open)));
    }
    Ok(open::person_by_id(work, owner).await?.map(Open::Person))
}

/// Checks that a removed record has no entries: they would stay due forever.
async fn check_no_entries(work: &UnitOfWork, owner: Uuid) -> Result<(), RecordError> {
    let left = entries::of_owners(work.db(), &work.caller.practice, &[owner]).await?;
    let corrupt = RecordError::Corrupt("an entry without its record");
    if left.is_empty() { Ok(()) } else { Err(corrupt) }
}

/// Checks that the record has the timeline.
fn check_timeline(open: &Open, key: TimelineKey) -> Result<(), ApiError> {
    let text = match (open, key) {
        (Open::Client(open), TimelineKey::RegisteredName)
            if open.client.client_type == ClientType::Individual =>
        {
            "the name of an individual is that of its person; name the person as record"
        }
        (Open::Client(_), TimelineKey::PersonName) => {
            "a client has no person's name; name the person as record"
        }
        (Open::Person(_), TimelineKey::RegisteredName | TimelineKey::TradingName) => {
            "a person has no registered or trading name; use PERSON_NAME"
        }
        _ => return Ok(()),
    };
    Err(ApiError::invalid_field("timeline", ErrorReason::FieldNotApplicable, text))
}

async fn check_etags(
    work: &UnitOfWork,
    open: &Open,
    timeline: &Timeline,
    command: &HistoryCommand,
) -> Result<(), RecordError> {
    let record = open.record();
    let of_entry = |id: Uuid| -> Result<String, RecordError> {
        let entry = timeline.entry(id).map_err(|error| to_api_error(&error))?;
        Ok(image::entry_etag(entry))
    };
    match command {
        HistoryCommand::Add { current_etag, .. } => {
            let current = timeline.current().map(image::entry_etag).unwrap_or_default();
            // Accepts the etag of yesterday's current entry: nothing was written since,
            // only the day has changed.
            let yesterday = timeline.current_yesterday().map(image::entry_etag);
            if yesterday.as_ref() == Some(current_etag) {
                return Ok(());
            }
            check_etag(work, "current_etag", current_etag, &current, record).await
        }
        HistoryCommand::AddPast { record_etag, .. } => {
            check_etag(work, "etag", record_etag, &open.etag(work), record).await
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, etag, .. }
        | HistoryCommand::End(EndEntry { id, .. }, etag)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, etag)
        | HistoryCommand::Rescind(RescindEntry { id }, etag) => {
            check_etag(work, "etag", etag, &of_entry(*id)?, record).await
        }
    }
}

fn decide(timeline: &Timeline, command: &HistoryCommand) -> Result<Decision, TimelineError> {
    match command {
        HistoryCommand::Add { command, .. } => timeline.add(command.clone()),
        HistoryCommand::AddPast { command, .. } => timeline.add_past(command.clone()),
        HistoryCommand::Correct { command, dates, .. } => {
            timeline.correct(with_dates(timeline, command, *dates)?)
        }
        HistoryCommand::End(command, _) => timeline.end(*command),
        HistoryCommand::Cancel(command, _) => timeline.cancel(*command),
        HistoryCommand::Rescind(command, _) => timeline.rescind(*command),
    }
}

/// The correction with its new period.
fn with_dates(
    timeline: &Timeline,
    command: &CorrectEntry,
    dates: GivenDates,
) -> Result<CorrectEntry, TimelineError> {
    let period = corrected_period(timeline.entry(command.id)?, dates);
    Ok(CorrectEntry { period, ..command.clone() })
}

/// The new period of a correction; `None` when no date was given.
fn corrected_period(entry: &Entry, (from, to): GivenDates) -> Option<Period> {
    if from.is_none() && to.is_none() {
        return None;
    }
    let Period { from: old_from, to: old_to } = entry.period;
    Some(Period::new(from.unwrap_or(old_from), to.unwrap_or(old_to)))
}

/// The API error of a timeline error, with the conflicting entries.
fn to_api_error(error: &TimelineError) -> ApiError {
    let reason = error.reason();
    let code = match reason {
        ErrorReason::NotFound => Code::NotFound,
        ErrorReason::FieldNotApplicable | ErrorReason::ValueBlank | ErrorReason::PeriodInvalid => {
            Code::InvalidArgument
        }
        _ => Code::FailedPrecondition,
    };
    let entries: Vec<String> =
        error.entries().iter().map(|id| ids::text(IdKind::Entry, *id)).collect();
    let api_error = ApiError::new(code, reason, error.to_string());
    let api_error = entries
        .iter()
        .take(20)
        .fold(api_error, |error, entry| error.precondition(entry, "this entry is in the way"));
    if entries.is_empty() { api_error } else { api_error.with("entries", entries.join(",")) }
}

fn too_many_entries() -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::ValueTooLong,
        format!(
            "a record has at most {MAX_ENTRIES} names and addresses; rescind what was never true"
        ),
    )
}

/// Writes the edits of a decision, and appends its events as changes. Returns the ids of
/// the changes. The caller saves the record itself.
async fn write_decision(
    work: &UnitOfWork,
    open: &mut Open,
    decision: &Decision,
    author: Authorship<'_>,
    recipients: &Recipients,
) -> Result<Vec<String>, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let removed = decision.edits.iter().filter_map(|edit| match edit {
        crate::domain::timeline::Edit::Remove(id) => Some(*id),
        _ => None,
    });
    let removed: Vec<Uuid> = removed.collect();
    links::remove_all(db, practice, &removed).await?;
    entries::write(db, practice, &decision.edits, work.at.now).await?;
    let before = open.entries().clone();
    decision.apply_to(open.entries());
    let after = open.entries().clone();
    let (record, companions) = (open.record(), open.companions());
    let mut changes = Vec::with_capacity(decision.events.len());
    for event in &decision.events {
        let meta = open.meta();
        *meta = meta.changed(work.at.now);
        let kind = change_kind(event.kind);
        let change = Change::new(new_uuid(), record, meta.version, kind);
        changes.push(Change {
            changed_fields: vec!["entries".to_owned()],
            before: entry_json(&before, event),
            after: entry_json(&after, event),
            ..change.of_entry(event.entry).with(companions)
        });
    }
    if author.caller.product == work.caller.product {
        return append(work, recipients, changes).await;
    }
    work.append(author, recipients, &changes).await?;
    Ok(Vec::new())
}

fn change_kind(kind: EventKind) -> ChangeKind {
    match kind {
        EventKind::Added => ChangeKind::EntryAdded,
        EventKind::Scheduled => ChangeKind::EntryScheduled,
        EventKind::BecameCurrent => ChangeKind::EntryBecameCurrent,
        EventKind::Corrected => ChangeKind::EntryCorrected,
        EventKind::DatesChanged => ChangeKind::EntryDatesChanged,
        EventKind::Ended => ChangeKind::EntryEnded,
        EventKind::Cancelled => ChangeKind::EntryCancelled,
        EventKind::Rescinded => ChangeKind::EntryRescinded,
    }
}

/// The entry of an event, and the neighbour that changed with it, as JSON for the audit.
fn entry_json(entries: &[Entry], event: &EntryEvent) -> Option<Json> {
    let of = |id: Uuid| {
        let entry = entries.iter().find(|entry| entry.id == id)?;
        let Entry { timeline, value, period: Period { from, to }, .. } = entry;
        Some(json!({
            "id": ids::text(IdKind::Entry, id),
            "timeline": timeline.to_string(),
            "value": value,
            ACTIVE_FROM: date_text(*from),
            ACTIVE_TO: date_text(*to),
        }))
    };
    let entries: Vec<Json> =
        std::iter::once(event.entry).chain(event.neighbour).filter_map(of).collect();
    (!entries.is_empty()).then(|| json!({ "entries": entries }))
}

/// Links the added or existing entry to its external id in the product. A link that the
/// account has already is kept.
async fn link_entry(
    work: &UnitOfWork,
    command: &HistoryCommand,
    decision: &Decision,
) -> Result<(), RecordError> {
    let (HistoryCommand::Add { external_id: Some(external_id), .. }
    | HistoryCommand::AddPast { external_id: Some(external_id), .. }) = command
    else {
        return Ok(());
    };
    let Some(entry) = decision.entry else { return Ok(()) };
    let (db, caller) = (work.db(), &work.caller);
    let account = (&caller.product, &caller.account);
    if !links::linked_records(db, &caller.practice, account, &[entry]).await?.is_empty() {
        return Ok(());
    }
    let link = create::link(work, LinkKind::Entry, external_id.clone(), entry);
    links::insert_now(db, &caller.practice, link).await
}

fn answer(
    work: &UnitOfWork,
    open: &mut Open,
    before: &Timeline,
    decision: &Decision,
    change_ids: Vec<String>,
) -> HistoryAnswer {
    let images = image::entries(open.entries(), work.at.today);
    let image_of = |id: Uuid| {
        let text = ids::text(IdKind::Entry, id);
        images.iter().find(|entry| entry.id == text).cloned()
    };
    let moved = before.entries().iter().filter(|entry| {
        Some(entry.id) != decision.entry
            && open.entries().iter().any(|now| now.id == entry.id && now.period != entry.period)
    });
    HistoryAnswer {
        outcome: outcome(decision.outcome).into(),
        entry: decision.entry.and_then(image_of),
        moved: moved.filter_map(|entry| image_of(entry.id)).collect(),
        change_ids,
    }
}

fn outcome(outcome: Outcome) -> HistoryOutcome {
    match outcome {
        Outcome::NoChange | Outcome::Rollover => HistoryOutcome::NoChange,
        Outcome::Added => HistoryOutcome::Added,
        Outcome::Scheduled => HistoryOutcome::Scheduled,
        Outcome::Corrected | Outcome::DatesChanged => HistoryOutcome::Corrected,
        Outcome::Ended => HistoryOutcome::Ended,
        Outcome::Cancelled => HistoryOutcome::Cancelled,
        Outcome::Rescinded => HistoryOutcome::Rescinded,
    }
}

/// True if the values of a timeline are searchable.
fn is_name(key: TimelineKey) -> bool {
    !matches!(key, TimelineKey::Address(_))
}

/// The key of the timeline of a request.
pub(crate) fn timeline_key(
    timeline: Option<PbTimeline>,
    address_type: Option<pb::AddressType>,
) -> Result<TimelineKey, (&'static str, ErrorReason, &'static str)> {
    match (timeline, address_type) {
        (Some(PbTimeline::Address), Some(kind)) => Ok(TimelineKey::Address(kind)),
        (Some(PbTimeline::Address), None) => Err((
            "address_type",
            ErrorReason::RequiredFieldBlank,
            "Required field is blank: Address type",
        )),
        (Some(_), Some(_)) => Err((
            "address_type",
            ErrorReason::FieldNotApplicable,
            "Only an address has a type; leave it out",
        )),
        (Some(PbTimeline::RegisteredName), None) => Ok(TimelineKey::RegisteredName),
        (Some(PbTimeline::TradingName), None) => Ok(TimelineKey::TradingName),
        (Some(PbTimeline::PersonName), None) => Ok(TimelineKey::PersonName),
        (None | Some(PbTimeline::Unspecified), _) => {
            Err(("timeline", ErrorReason::RequiredFieldBlank, "Required field is blank: Timeline"))
        }
    }
}
