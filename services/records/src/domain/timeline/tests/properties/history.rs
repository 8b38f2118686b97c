//! Random histories: a timeline, and a sequence of commands on ascending days.

use chrono::{Days, NaiveDate};
use concord_core::rules::date::Period;
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::super::{super::*, support::*};

/// A command of any kind.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Add(AddEntry),
    AddPast(AddPastEntry),
    Correct(CorrectEntry),
    End(EndEntry),
    Cancel(CancelScheduledEntry),
    Rescind(RescindEntry),
}

/// One command of a history, with the timeline before and after it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The rollover before the command.
    pub(super) rollover: Decision,
    pub(super) before: Timeline,
    pub(super) command: Command,
    pub(super) decision: Result<Decision, TimelineError>,
    /// The timeline after the decision; unchanged after an error.
    pub(super) after: Timeline,
}

/// One step of a history. Days are relative to the day of the step.
#[derive(Clone, Debug)]
enum Step {
    Add { value: u8, on: Option<i64> },
    AddPast { value: u8, from: Option<i64>, days: Option<i64>, trim: bool },
    Correct { which: Index, value: Option<u8>, from: Move, to: Move, flag: bool },
    End { which: Index, on: Option<i64> },
    Cancel { which: Index },
    Rescind { which: Index },
}

/// The correction of a date.
#[derive(Clone, Copy, Debug)]
enum Move {
    Keep,
    By(i64),
    To(i64),
    Nowhere,
}

/// A timeline of any kind with its first entries, and steps with the days between them.
#[derive(Clone, Debug)]
pub(super) struct History {
    key: TimelineKey,
    start: Vec<(Option<i64>, Option<i64>)>,
    steps: Vec<(u64, Step)>,
}

/// Maximum number of first entries, exclusive.
const MAX_START: usize = 4;

pub(super) fn histories() -> impl Strategy<Value = History> {
    let keys = every_kind().collect::<Vec<_>>();
    let start = vec((option::weighted(0.8, -50_i64..30), option::of(-40_i64..40)), 1..MAX_START);
    let pause = prop_oneof![3 => Just(0_u64), 2 => 1_u64..6, 1 => 20_u64..60];
    (proptest::sample::select(keys), start, vec((pause, steps()), 1..14))
        .prop_map(|(key, start, steps)| History { key, start, steps })
}

fn steps() -> impl Strategy<Value = Step> {
    let on = || {
        option::weighted(
            0.8,
            prop_oneof![6 => -30_i64..=0, 4 => 1_i64..40, 1 => Just(366), 1 => Just(367)],
        )
    };
    let moves = || {
        prop_oneof![
            4 => Just(Move::Keep),
            4 => (-12_i64..12).prop_map(Move::By),
            2 => (-40_i64..40).prop_map(Move::To),
            1 => Just(Move::To(367)),
            1 => Just(Move::Nowhere),
        ]
    };
    let which = any::<Index>;
    let past = (0..4_u8, option::weighted(0.8, -60_i64..0), option::weighted(0.9, -1_i64..25));
    let correct = (which(), option::of(0..4_u8), moves(), moves(), prop::bool::weighted(0.8));
    prop_oneof![
        4 => (0..4_u8, on()).prop_map(|(value, on)| Step::Add { value, on }),
        3 => (past, any::<bool>()).prop_map(|((value, from, days), trim)| Step::AddPast {
            value,
            from,
            days,
            trim,
        }),
        6 => correct.prop_map(|(which, value, from, to, flag)| Step::Correct {
            which,
            value,
            from,
            to,
            flag,
        }),
        2 => (which(), on()).prop_map(|(which, on)| Step::End { which, on }),
        2 => which().prop_map(|which| Step::Cancel { which }),
        2 => which().prop_map(|which| Step::Rescind { which }),
    ]
}

impl History {
    /// Runs the steps. Returns all commands with their results, in order.
    pub(super) fn cases(&self) -> Vec<Case> {
        let mut today = day(TODAY);
        let mut entries = self.first_entries();
        let mut cases = Vec::new();
        for (n, (pause, step)) in (100..).zip(&self.steps) {
            today = today + Days::new(*pause);
            let (before, rollover) = Timeline::on(today, id(0), self.key, entries.clone());
            let Some(command) = self.command(step, &before, n) else { continue };
            let decision = decide(&before, &command);
            let after = decision.as_ref().map_or(before.clone(), |made| before.apply(made));
            entries = after.entries().to_vec();
            cases.push(Case { rollover, before, command, decision, after });
        }
        cases
    }

    /// The first entries: one name, or imported entries on the other timelines.
    fn first_entries(&self) -> Vec<Entry> {
        let today = day(TODAY);
        let mut entries: Vec<Entry> = Vec::new();
        for (n, (from, to)) in (1..).zip(&self.start) {
            let to = to.filter(|_| !self.key.is_contiguous());
            let period = Period::new(from.map(|on| date(today, on)), to.map(|on| date(today, on)));
            let text = format!("v{n}");
            let (value, none) = (value(self.key, &text), |_| false);
            let placed = period.is_valid().then(|| place(&entries, &value, period, today, none));
            if placed == Some(Ok(Placement::Added)) && !(self.key.is_contiguous() && n > 1) {
                entries.push(Entry::new(id(n), id(0), self.key, value, period, today));
            }
        }
        entries
    }

    /// The command of a step; `None` when it needs an entry and there is none.
    fn command(&self, step: &Step, timeline: &Timeline, n: u128) -> Option<Command> {
        let today = timeline.today;
        let on = |on: &Option<i64>| on.map(|on| date(today, on));
        let text = |value: &u8| super::super::support::value(self.key, &format!("v{value}"));
        let entries = timeline.entries();
        let pick = |which: &Index| (!entries.is_empty()).then(|| which.get(entries));
        Some(match step {
            Step::Add { value, on: day } => {
                Command::Add(AddEntry { id: id(n), value: text(value), effective_on: on(day) })
            }
            Step::AddPast { value, from, days, trim } => {
                let to = days.map(|days| date(today, from.unwrap_or(-60) + days));
                let period = Period::new(on(from), to);
                let (id, value, trim) = (id(n), text(value), *trim);
                Command::AddPast(AddPastEntry { id, value, period, trim })
            }
            Step::Correct { which, value, from, to, flag } => {
                let entry = pick(which)?;
                let period = Period {
                    from: from.of(entry.period.from, today),
                    to: to.of(entry.period.to, today),
                };
                Command::Correct(CorrectEntry {
                    id: entry.id,
                    value: value.as_ref().map(text),
                    period: Some(period),
                    correct_history: *flag,
                })
            }
            Step::End { which, on: day } => {
                Command::End(EndEntry { id: pick(which)?.id, ended_on: on(day) })
            }
            Step::Cancel { which } => Command::Cancel(CancelScheduledEntry { id: pick(which)?.id }),
            Step::Rescind { which } => Command::Rescind(RescindEntry { id: pick(which)?.id }),
        })
    }
}

impl Move {
    fn of(self, old: Option<NaiveDate>, today: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Keep => old,
            Self::By(days) => old.map(|old| date(old, days)),
            Self::To(days) => Some(date(today, days)),
            Self::Nowhere => None,
        }
    }
}

pub(super) fn decide(timeline: &Timeline, command: &Command) -> Result<Decision, TimelineError> {
    match command.clone() {
        Command::Add(command) => timeline.add(command),
        Command::AddPast(command) => timeline.add_past(command),
        Command::Correct(command) => timeline.correct(command),
        Command::End(command) => timeline.end(command),
        Command::Cancel(command) => timeline.cancel(command),
        Command::Rescind(command) => timeline.rescind(command),
    }
}

pub(super) fn date(day: NaiveDate, days: i64) -> NaiveDate {
    day + chrono::TimeDelta::days(days)
}
