//! One JSON object per line: the columns that are not empty, by name, unescaped. All
//! values are strings, except `row`, which is a number.

use std::io::Write as _;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{FileWriter, columns::Line};
use crate::error::ImportError;

/// Writes JSON lines.
#[derive(Debug)]
pub(crate) struct Jsonl(Vec<u8>);

impl Jsonl {
    /// An empty file.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }
}

impl FileWriter for Jsonl {
    fn write(&mut self, line: &Line) -> Result<(), ImportError> {
        let written = serde_json::to_writer(&mut self.0, &Object(line)).map_err(drop);
        let ended = written.and_then(|()| self.0.write_all(b"\n").map_err(drop));
        // Writing to memory does not fail.
        ended.map_err(|()| ImportError::Corrupt("line of the failures file"))
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }
}

struct Object<'l>(&'l Line);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (column, value) in self.0.cells() {
            match value.parse::<i64>() {
                Ok(row) if column == "row" => object.serialize_entry(column, &row)?,
                _ => object.serialize_entry(column, value)?,
            }
        }
        object.end()
    }
}
