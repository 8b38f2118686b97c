//! History and correction: the commands on timelines.
//!
//! Each reads as a sentence: open the record, check the etag, let the timeline
//! decide, write what it decided.

use chrono::NaiveDate;
use serde_json::{Value as Json, json};
use shared::{
    access::Role,
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    pb::records::{
        self as pb, ChangeKind, ClientType, ErrorReason, HistoryOutcome, Timeline as PbTimeline,
    },
    rules::date::{Period, date_text},
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{
    Records, create,
    intent::Intent,
    links::append,
    open::{self, OpenClient, OpenPerson, check_etag},
    save::{self, Names},
    script::{Answer, Script},
};
use crate::{
    domain::{
        change::{Authorship, Change},
        link::LinkKind,
        record::{Life, RecordRef},
        timeline::{
            AddEntry, AddPastEntry, CancelScheduledEntry, CorrectEntry, Decision, EndEntry, Entry,
            EntryEvent, EventKind, MAX_ENTRIES, Outcome, Refusal as Refused, RescindEntry, Slip,
            Timeline, TimelineKey,
        },
    },
    error::RecordError,
    image,
    store::{
        audit::{self, AuditRow},
        changes::Audience,
        entries, links,
    },
};

/// The dates that a correction gives: the start and the end.
pub(crate) type GivenDates = (Option<Option<NaiveDate>>, Option<Option<NaiveDate>>);

/// A command on a timeline, and what it is checked by.
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
    /// A correction; of the dates those that were given, the others stay.
    Correct {
        command: CorrectEntry,
        dates: GivenDates,
        etag: String,
    },
    End(EndEntry, String),
    Cancel(CancelScheduledEntry, String),
    Rescind(RescindEntry, String),
}

/// What a command came to, for its answer.
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

/// A client or a person, opened.
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

    fn life(&mut self) -> &mut Life {
        match self {
            Self::Client(open) => &mut open.client.life,
            Self::Person(open) => &mut open.person.life,
        }
    }

    /// The records whose images go with a change of this one.
    fn companions(&self) -> Option<RecordRef> {
        match self {
            Self::Client(open) => open.client.person_id.map(RecordRef::person),
            Self::Person(_) => None,
        }
    }

    fn etag(&self, script: &Script) -> String {
        match self {
            Self::Client(open) => open.image(script).etag,
            Self::Person(open) => open.image(script).etag,
        }
    }

    async fn save(self, script: &Script, names: Names) -> Result<(), RecordError> {
        match self {
            Self::Client(open) => save::client(script, open, names).await.map(drop),
            Self::Person(open) => save::person(script, open, names).await.map(drop),
        }
    }
}

impl Records {
    /// Carries out a command on a timeline.
    pub(crate) async fn change_history(
        &self,
        caller: Caller,
        intent: Intent,
        command: HistoryCommand,
    ) -> Result<HistoryAnswer, RecordError> {
        check_role(&caller, &command)?;
        let changed = self.mutate(caller, intent, command, move |script, command| async move {
            change(&script, &command).await
        });
        changed.await
    }

    /// Tells what midnight has changed on the timelines of one record: for the
    /// job that goes round after midnight.
    pub(crate) async fn turn(&self, system: Caller, owner: Uuid) -> Result<(), RecordError> {
        self.write(system, owner, move |script, owner| async move {
            let Some(mut open) = open_by_id(&script, *owner).await? else {
                return check_gone(&script, *owner).await;
            };
            let audience = Audience::everyone(script.db(), &script.caller.practice).await?;
            let mut keys: Vec<TimelineKey> = open.entries().iter().map(|e| e.timeline).collect();
            keys.sort();
            keys.dedup();
            let (mut names, mut turned) = (Names::Same, false);
            for key in keys {
                let before = open.entries().clone();
                let (_, midnight) =
                    Timeline::on(script.at.today, open.record().id, key, before.clone());
                if midnight.edits.is_empty() {
                    continue;
                }
                turned = true;
                names = if is_name(key) { Names::Changed } else { names };
                write_decision(&script, &mut open, &midnight, script.author(), &audience).await?;
            }
            if turned { open.save(&script, names).await } else { Ok(()) }
        })
        .await
    }
}

/// The past is corrected by those who run the practice only.
fn check_role(caller: &Caller, command: &HistoryCommand) -> Result<(), Refusal> {
    let HistoryCommand::Correct { command: CorrectEntry { correct_history: true, .. }, .. } =
        command
    else {
        return Ok(());
    };
    if runs_practice(caller) {
        return Ok(());
    }
    let text = "correct_history needs one of the roles owner, admin; leave it out when the entry \
        has not ended";
    Err(role_not_allowed(text))
}

fn runs_practice(caller: &Caller) -> bool {
    caller.roles.iter().any(|role| matches!(role, Role::Owner | Role::Admin))
}

fn role_not_allowed(text: impl Into<String>) -> Refusal {
    Refusal::new(Code::PermissionDenied, ErrorReason::RoleNotAllowed, text)
}

/// Refuses what a decision does to the past when the caller may not do it: a slip of
/// another product's, and days that a past entry would lose to `trim`.
async fn check_past(
    script: &Script,
    record: RecordRef,
    timeline: &Timeline,
    command: &HistoryCommand,
    decision: &Decision,
) -> Result<(), RecordError> {
    if runs_practice(&script.caller) {
        return Ok(());
    }
    match command {
        HistoryCommand::AddPast { .. } => {
            let Some(past) = timeline.past_that_moves(decision) else { return Ok(()) };
            let past = ids::text(IdKind::Entry, past);
            let text = format!(
                "trim would shorten {past}, which is past: ask an owner or admin, or give dates \
                 that do not overlap it"
            );
            Err(role_not_allowed(text).with("entries", past).into())
        }
        HistoryCommand::Correct { command, dates, .. } => {
            let command = with_dates(timeline, command, *dates).map_err(|r| to_refusal(&r))?;
            let slip = timeline.slip(&command).map_err(|refused| to_refusal(&refused))?;
            let Some(slip) = slip else { return Ok(()) };
            if slip.is_last && slipped_here(script, record, command.id, slip).await? {
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

/// Whether the caller's product made the changes that a slip takes back.
async fn slipped_here(
    script: &Script,
    record: RecordRef,
    entry: Uuid,
    slip: Slip,
) -> Result<bool, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let changes = audit::of_entries(db, practice, record.id).await?;
    let here = |field: &str| {
        let set = changes.iter().find(|row| set_date(row, entry, field));
        set.is_some_and(|row| row.product == script.caller.product.as_str())
    };
    Ok((!slip.ended || here(ACTIVE_TO)) && (!slip.begun || here(ACTIVE_FROM)))
}

/// Whether a change gave an entry the date that it has in `field`, when none after it
/// did.
fn set_date(row: &AuditRow, entry: Uuid, field: &str) -> bool {
    let came = matches!(
        row.kind,
        ChangeKind::Created | ChangeKind::EntryAdded | ChangeKind::EntryScheduled
    );
    if came && row.entry_id.is_none_or(|id| id == entry) {
        return true;
    }
    let date = |values: &Option<String>| {
        let values: Json = serde_json::from_str(values.as_deref()?).ok()?;
        let id = ids::text(IdKind::Entry, entry);
        let mut entries = values.get("entries")?.as_array()?.iter();
        let entry = entries.find(|told| told.get("id").and_then(Json::as_str) == Some(&id))?;
        Some(entry.get(field)?.as_str()?.to_owned())
    };
    date(&row.after).is_some_and(|after| date(&row.before) != Some(after))
}

const ACTIVE_FROM: &str = "active_from";
const ACTIVE_TO: &str = "active_to";

async fn change(
    script: &Script,
    command: &HistoryCommand,
) -> Result<Answer<HistoryAnswer>, RecordError> {
    let audience = script.audience().await?;
    let (mut open, key) = open_for(script, command).await?;
    let record = open.record();
    let before = open.entries().clone();
    let (timeline, midnight) = Timeline::on(script.at.today, record.id, key, before);
    if !midnight.edits.is_empty() {
        let system = Caller::system(script.caller.practice.clone());
        let author =
            Authorship { caller: &system, request_id: None, reason: "", ..script.author() };
        write_decision(script, &mut open, &midnight, author, &audience).await?;
    }
    check_etags(script, &open, &timeline, command).await?;
    let decision = decide(&timeline, command).map_err(|refused| to_refusal(&refused))?;
    check_past(script, record, &timeline, command, &decision).await?;
    if timeline.apply(&decision).entries().len() > timeline.entries().len()
        && open.entries().len() >= MAX_ENTRIES
    {
        return Err(too_many_entries().into());
    }
    let changes = write_decision(script, &mut open, &decision, script.author(), &audience).await?;
    link_entry(script, command, &decision).await?;
    let response = answer(script, &mut open, &timeline, &decision, changes);
    if !decision.edits.is_empty() || !midnight.edits.is_empty() {
        let names = if is_name(key) { Names::Changed } else { Names::Same };
        open.save(script, names).await?;
    }
    Ok(Answer { response, record: record.id })
}

/// Opens the record that the command is about, and says which timeline.
async fn open_for(
    script: &Script,
    command: &HistoryCommand,
) -> Result<(Open, TimelineKey), RecordError> {
    match command {
        HistoryCommand::Add { record, timeline, .. }
        | HistoryCommand::AddPast { record, timeline, .. } => {
            let open = open_named(script, record).await?;
            check_timeline(&open, *timeline)?;
            Ok((open, *timeline))
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, .. }
        | HistoryCommand::End(EndEntry { id, .. }, _)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, _)
        | HistoryCommand::Rescind(RescindEntry { id }, _) => open_entry(script, *id).await,
    }
}

async fn open_named(script: &Script, name: &str) -> Result<Open, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let record = super::names::client_or_person(db, practice, "record", name).await?;
    let text = record.text();
    match record.kind {
        pb::RecordKind::Person => {
            Ok(Open::Person(open::linked_person(script, "record", &text).await?))
        }
        _ => Ok(Open::Client(open::linked_client(script, "record", &text).await?)),
    }
}

/// The record of an entry, and the entry's timeline.
async fn open_entry(script: &Script, id: Uuid) -> Result<(Open, TimelineKey), RecordError> {
    let missing = || Refusal::not_found("entry", &ids::text(IdKind::Entry, id));
    let owner = entries::owner(script.db(), &script.caller.practice, id).await?;
    let owner = owner.ok_or_else(missing)?;
    let client = RecordRef::client(owner).text();
    let mut open = match open_by_id(script, owner).await?.ok_or_else(missing)? {
        Open::Client(_) => Open::Client(open::linked_client(script, "entry", &client).await?),
        Open::Person(_) => {
            let person = RecordRef::person(owner).text();
            Open::Person(open::linked_person(script, "entry", &person).await?)
        }
    };
    let entry = open.entries().iter().find(|entry| entry.id == id);
    let key = entry.ok_or_else(missing)?.timeline;
    Ok((open, key))
}

async fn open_by_id(script: &Script, owner: Uuid) -> Result<Option<Open>, RecordError> {
    if let Some(open) = open::client_by_id(script, owner).await? {
        return Ok(Some(Open::Client(open)));
    }
    Ok(open::person_by_id(script, owner).await?.map(Open::Person))
}

/// A record that was removed meanwhile has no entries, which would be due for ever.
async fn check_gone(script: &Script, owner: Uuid) -> Result<(), RecordError> {
    let left = entries::of_owners(script.db(), &script.caller.practice, &[owner]).await?;
    let corrupt = RecordError::Corrupt("an entry without its record");
    if left.is_empty() { Ok(()) } else { Err(corrupt) }
}

/// Refuses a timeline that the record does not have.
fn check_timeline(open: &Open, key: TimelineKey) -> Result<(), Refusal> {
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
    Err(Refusal::invalid_field("timeline", ErrorReason::FieldNotApplicable, text))
}

async fn check_etags(
    script: &Script,
    open: &Open,
    timeline: &Timeline,
    command: &HistoryCommand,
) -> Result<(), RecordError> {
    let record = open.record();
    let of_entry = |id: Uuid| -> Result<String, RecordError> {
        let entry = timeline.entry(id).map_err(|refused| to_refusal(&refused))?;
        Ok(image::entry_etag(entry))
    };
    match command {
        HistoryCommand::Add { current_etag, .. } => {
            let current = timeline.current().map(image::entry_etag).unwrap_or_default();
            // There was no write since it was read: only the day has changed.
            let yesterday = timeline.current_yesterday().map(image::entry_etag);
            if yesterday.as_ref() == Some(current_etag) {
                return Ok(());
            }
            check_etag(script, "current_etag", current_etag, &current, record).await
        }
        HistoryCommand::AddPast { record_etag, .. } => {
            check_etag(script, "etag", record_etag, &open.etag(script), record).await
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, etag, .. }
        | HistoryCommand::End(EndEntry { id, .. }, etag)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, etag)
        | HistoryCommand::Rescind(RescindEntry { id }, etag) => {
            check_etag(script, "etag", etag, &of_entry(*id)?, record).await
        }
    }
}

fn decide(timeline: &Timeline, command: &HistoryCommand) -> Result<Decision, Refused> {
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

/// A correction with the period that the given dates make.
fn with_dates(
    timeline: &Timeline,
    command: &CorrectEntry,
    dates: GivenDates,
) -> Result<CorrectEntry, Refused> {
    let period = corrected_period(timeline.entry(command.id)?, dates);
    Ok(CorrectEntry { period, ..command.clone() })
}

/// The period of a correction, when one of its dates was given.
fn corrected_period(entry: &Entry, (from, to): GivenDates) -> Option<Period> {
    if from.is_none() && to.is_none() {
        return None;
    }
    let Period { from: old_from, to: old_to } = entry.period;
    Some(Period::new(from.unwrap_or(old_from), to.unwrap_or(old_to)))
}

/// A refusal of a timeline, with the entries that are in the way.
fn to_refusal(refused: &Refused) -> Refusal {
    let reason = refused.reason();
    let code = match reason {
        ErrorReason::NotFound => Code::NotFound,
        ErrorReason::FieldNotApplicable | ErrorReason::ValueBlank | ErrorReason::PeriodInvalid => {
            Code::InvalidArgument
        }
        _ => Code::FailedPrecondition,
    };
    let entries: Vec<String> =
        refused.entries().iter().map(|id| ids::text(IdKind::Entry, *id)).collect();
    let refusal = Refusal::new(code, reason, refused.to_string());
    let refusal = entries
        .iter()
        .take(20)
        .fold(refusal, |refusal, entry| refusal.precondition(entry, "this entry is in the way"));
    if entries.is_empty() { refusal } else { refusal.with("entries", entries.join(",")) }
}

fn too_many_entries() -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ValueTooLong,
        format!(
            "a record has at most {MAX_ENTRIES} names and addresses; rescind what was never true"
        ),
    )
}

/// Writes a decision on the opened record, and appends its events as changes;
/// tells the changes' ids. The record itself is saved by the caller.
async fn write_decision(
    script: &Script,
    open: &mut Open,
    decision: &Decision,
    author: Authorship<'_>,
    audience: &Audience,
) -> Result<Vec<String>, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    let removed = decision.edits.iter().filter_map(|edit| match edit {
        crate::domain::timeline::Edit::Remove(id) => Some(*id),
        _ => None,
    });
    let removed: Vec<Uuid> = removed.collect();
    links::remove_all(db, practice, &removed).await?;
    entries::write(db, practice, &decision.edits, script.at.now).await?;
    let before = open.entries().clone();
    decision.apply_to(open.entries());
    let after = open.entries().clone();
    let (record, companions) = (open.record(), open.companions());
    let mut changes = Vec::with_capacity(decision.events.len());
    for event in &decision.events {
        let life = open.life();
        *life = life.changed(script.at.now);
        let kind = change_kind(event.kind);
        let change = Change::new(new_uuid(), record, life.version, kind);
        changes.push(Change {
            changed_fields: vec!["entries".to_owned()],
            before: entry_json(&before, event),
            after: entry_json(&after, event),
            ..change.of_entry(event.entry).with(companions)
        });
    }
    if author.caller.product == script.caller.product {
        return append(script, audience, changes).await;
    }
    script.append(author, audience, &changes).await?;
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

/// The entry of an event, and the one that moved with it, for the audit.
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
    let told: Vec<Json> =
        std::iter::once(event.entry).chain(event.neighbour).filter_map(of).collect();
    (!told.is_empty()).then(|| json!({ "entries": told }))
}

/// Links the entry to the product's own id of it: the one that was added, or the
/// one that stood there already. An entry that the account knows keeps its link.
async fn link_entry(
    script: &Script,
    command: &HistoryCommand,
    decision: &Decision,
) -> Result<(), RecordError> {
    let (HistoryCommand::Add { external_id: Some(external_id), .. }
    | HistoryCommand::AddPast { external_id: Some(external_id), .. }) = command
    else {
        return Ok(());
    };
    let Some(entry) = decision.entry else { return Ok(()) };
    let (db, caller) = (script.db(), &script.caller);
    let account = (&caller.product, &caller.account);
    if !links::linked_records(db, &caller.practice, account, &[entry]).await?.is_empty() {
        return Ok(());
    }
    let link = create::link(script, LinkKind::Entry, external_id.clone(), entry);
    links::insert_now(db, &caller.practice, link).await
}

fn answer(
    script: &Script,
    open: &mut Open,
    before: &Timeline,
    decision: &Decision,
    change_ids: Vec<String>,
) -> HistoryAnswer {
    let shown = image::entries(open.entries(), script.at.today);
    let named = |id: Uuid| {
        let text = ids::text(IdKind::Entry, id);
        shown.iter().find(|entry| entry.id == text).cloned()
    };
    let moved = before.entries().iter().filter(|entry| {
        Some(entry.id) != decision.entry
            && open.entries().iter().any(|now| now.id == entry.id && now.period != entry.period)
    });
    HistoryAnswer {
        outcome: outcome(decision.outcome).into(),
        entry: decision.entry.and_then(named),
        moved: moved.filter_map(|entry| named(entry.id)).collect(),
        change_ids,
    }
}

fn outcome(outcome: Outcome) -> HistoryOutcome {
    match outcome {
        Outcome::NoChange | Outcome::Turned => HistoryOutcome::NoChange,
        Outcome::Added => HistoryOutcome::Added,
        Outcome::Scheduled => HistoryOutcome::Scheduled,
        Outcome::Corrected | Outcome::DatesChanged => HistoryOutcome::Corrected,
        Outcome::Ended => HistoryOutcome::Ended,
        Outcome::Cancelled => HistoryOutcome::Cancelled,
        Outcome::Rescinded => HistoryOutcome::Rescinded,
    }
}

/// Whether a timeline is one that records are found by.
fn is_name(key: TimelineKey) -> bool {
    !matches!(key, TimelineKey::Address(_))
}

/// The timeline that a request names.
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
