//! Timelines: the dated entries of a record, and the commands that add and correct them.
//!
//! A timeline is a pure decider: the timeline of a day and a command give a [`Decision`] or
//! a [`TimelineError`]. The rules are those of the table in `docs/history.md`. This module
//! uses no clock and no database, and creates no ids. The service checks etags, roles and
//! links before.

mod add;
mod close;
mod correct;
mod decision;
mod edits;
mod entry;
mod error;
mod key;
mod limits;
mod past;
mod placement;
mod state;

pub(crate) use self::{
    add::AddEntry,
    close::{CancelScheduledEntry, EndEntry, RescindEntry},
    correct::{CorrectEntry, StatusCorrection},
    decision::{Decision, Edit, EntryEvent, EventKind, Outcome},
    entry::{Cut, Entry, Side},
    error::TimelineError,
    key::TimelineKey,
    limits::{MAX_DAYS_AHEAD, MAX_ENTRIES},
    past::AddPastEntry,
    placement::{Placement, close_at_next, place},
    state::Timeline,
};

#[cfg(test)]
mod tests;
