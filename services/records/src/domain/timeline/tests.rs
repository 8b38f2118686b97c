//! Tests of timelines, written as text: `2 B 2015-01-01..` is the entry 2 with the value B,
//! which holds from that day on.
//!
//! The declared end is the end of the entry, or none if the next entry begins there. Any
//! other declared end is added: `own 2020-01-01`, or `own none` for an implicit end that
//! no entry follows.

mod add;
mod cancel;
mod correct;
mod end;
mod error;
mod keys;
mod past;
mod placement;
mod properties;
mod rescind;
mod rollover;
mod rows;
mod support;
