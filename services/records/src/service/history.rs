//! The commands on timelines: history and corrections.
//!
//! Each command opens the record, checks the etag, lets the timeline decide, and writes
//! the decision.

mod answer;
mod command;
mod permission;
mod target;
mod write;

use concord_core::caller::Caller;
use concord_proto::pb::records::{self as pb, ErrorReason, RecordKind, Timeline as PbTimeline};
use uuid::Uuid;

use super::{
    Records,
    open::{self, Names, Open, check_etag},
    request_context::RequestContext,
    subject::Subject,
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::Authorship,
        record::{Client, Person, RecordRef},
        timeline::{
            CancelScheduledEntry, CorrectEntry, Decision, EndEntry, MAX_ENTRIES, RescindEntry,
            Timeline, TimelineError, TimelineKey,
        },
    },
    error::RecordError,
    image,
    store::changes::Recipients,
};
pub(crate) use answer::HistoryAnswer;
use answer::{answer, to_api_error, too_many_entries};
pub(crate) use command::HistoryCommand;
use command::with_dates;
use permission::{check_past, check_role};
use target::{check_no_entries, record_of, timeline_of};
use write::{link_entry, write_decision};

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
            if let Some(open) = open::by_id::<Client>(&work, *owner).await? {
                return roll_over(&work, open).await;
            }
            match open::by_id::<Person>(&work, *owner).await? {
                Some(open) => roll_over(&work, open).await,
                None => check_no_entries(&work, *owner).await,
            }
        })
        .await
    }
}

async fn roll_over<S: Subject>(work: &UnitOfWork, mut open: Open<S>) -> Result<(), RecordError> {
    let recipients = Recipients::all_products(work.db()).await?;
    let mut keys: Vec<TimelineKey> = open.entries.iter().map(|e| e.timeline).collect();
    keys.sort();
    keys.dedup();
    let (mut names, mut rolled_over) = (Names::Same, false);
    for key in keys {
        let before = open.entries.clone();
        let (_, rollover) = Timeline::on(work.at.today, open.record.id, key, before);
        if rollover.edits.is_empty() {
            continue;
        }
        rolled_over = true;
        names = if is_name(key) { Names::Changed } else { names };
        write_decision(work, &mut open, &rollover, work.author(), &recipients).await?;
    }
    if rolled_over {
        open.save(work, names).await?;
    }
    Ok(())
}

async fn change(
    work: &UnitOfWork,
    command: &HistoryCommand,
) -> Result<Answer<HistoryAnswer>, RecordError> {
    let recipients = work.recipients().await?;
    let record = record_of(work, command).await?;
    match record.kind {
        RecordKind::Person => change_of::<Person>(work, &recipients, record, command).await,
        _ => change_of::<Client>(work, &recipients, record, command).await,
    }
}

async fn change_of<S: Subject>(
    work: &UnitOfWork,
    recipients: &Recipients,
    record: RecordRef,
    command: &HistoryCommand,
) -> Result<Answer<HistoryAnswer>, RecordError> {
    let mut open = open::linked::<S>(work, &record.text()).await?;
    let key = timeline_of(&open, command)?;
    let before = open.entries.clone();
    let (timeline, rollover) = Timeline::on(work.at.today, record.id, key, before);
    if !rollover.edits.is_empty() {
        let system = Caller::system(work.caller.practice.clone());
        let author = Authorship { caller: &system, request_id: None, reason: "", ..work.author() };
        write_decision(work, &mut open, &rollover, author, recipients).await?;
    }
    check_etags(work, &open, &timeline, command).await?;
    let decision = decide(&timeline, command).map_err(|error| to_api_error(&error))?;
    check_past(work, record, &timeline, command, &decision).await?;
    if timeline.apply(&decision).entries().len() > timeline.entries().len()
        && open.entries.len() >= MAX_ENTRIES
    {
        return Err(too_many_entries().into());
    }
    let changes = write_decision(work, &mut open, &decision, work.author(), recipients).await?;
    link_entry(work, command, &decision).await?;
    let response = answer(work, &open.entries, &timeline, &decision, changes);
    if !decision.edits.is_empty() || !rollover.edits.is_empty() {
        let names = if is_name(key) { Names::Changed } else { Names::Same };
        open.save(work, names).await?;
    }
    Ok(Answer { response, record: record.id })
}

async fn check_etags<S: Subject>(
    work: &UnitOfWork,
    open: &Open<S>,
    timeline: &Timeline,
    command: &HistoryCommand,
) -> Result<(), RecordError> {
    let record = open.record;
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
            let image = open.image(work);
            check_etag(work, "etag", record_etag, S::etag(&image), record).await
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
