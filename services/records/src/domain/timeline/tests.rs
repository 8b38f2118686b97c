//! Timelines as text: `2 B 2015-01-01..` is the entry 2 with the value B, which
//! holds from that day on. Its own end is the one that it has, unless the next
//! entry begins there; any other is written behind it: `own none` of one that another
//! entry has closed, and does not meet any more.

mod add;
mod cancel;
mod correct;
mod end;
mod keys;
mod midnight;
mod past;
mod place;
mod properties;
mod refusal;
mod rescind;
mod rows;
mod support;
