//! Values that are stored as text: enums of the contract by their names, and JSON.

use concord_proto::pb::records::{ChangeKind, EchoMode, RecordKind, RecordState};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::RecordError;

/// An enum of the contract that is stored by its name, without the prefix.
pub(super) trait Stored: Sized {
    fn stored(&self) -> String;
    fn read(text: &str) -> Result<Self, RecordError>;
}

macro_rules! stored {
    ($name:ty, $prefix:literal) => {
        impl Stored for $name {
            fn stored(&self) -> String {
                self.as_str_name().trim_start_matches($prefix).to_owned()
            }

            fn read(text: &str) -> Result<Self, RecordError> {
                let name = [$prefix, text].concat();
                Self::from_str_name(&name).ok_or(RecordError::Corrupt("an enum's name"))
            }
        }
    };
}

stored!(ChangeKind, "CHANGE_KIND_");
stored!(EchoMode, "ECHO_MODE_");
stored!(RecordKind, "RECORD_KIND_");
stored!(RecordState, "RECORD_STATE_");

pub(super) fn to_json(value: &impl Serialize) -> Result<String, RecordError> {
    serde_json::to_string(value).map_err(|_| RecordError::Corrupt("a value that JSON cannot hold"))
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, RecordError> {
    serde_json::from_str(text).map_err(|_| RecordError::Corrupt("JSON"))
}
