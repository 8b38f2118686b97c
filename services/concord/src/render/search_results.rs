//! The results of a search, as a table or as JSON.

use std::fmt;

use concord_proto::pb::records::{RecordKind, RecordState, SearchMatch, SearchResult};
use serde_json::{Value, json};

use super::{json::list_json, names::name, output::Table};

const HEADINGS: [&str; 5] = ["kind", "name", "reference", "id", "what matched"];

/// The results of a search.
#[derive(Debug, Default)]
pub(crate) struct SearchResults {
    /// In the order of the service: the best match first.
    pub(crate) results: Vec<SearchResult>,
    /// Whether too many records matched, and not all of them were examined.
    pub(crate) truncated: bool,
    /// Whether there are more than the limit.
    pub(crate) more: bool,
}

impl SearchResults {
    /// As a JSON object.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let results = list_json("concord.records.v1.SearchResult", &self.results)?;
        Ok(json!({ "results": results, "truncated": self.truncated, "more": self.more }))
    }

    /// Remarks for the user.
    pub(crate) fn remarks(&self) -> Vec<&'static str> {
        let none = self.results.is_empty() && !self.more;
        [
            (none, "nothing was found; --all includes orphaned records, which no product uses"),
            (self.more, "there are more: --limit N shows up to N"),
            (self.truncated, "too many records match, and not all were examined: add words"),
        ]
        .into_iter()
        .filter_map(|(is_so, remark)| is_so.then_some(remark))
        .collect()
    }
}

impl fmt::Display for SearchResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table::new(HEADINGS, self.results.iter().map(row)).fmt(f)
    }
}

fn row(result: &SearchResult) -> [String; HEADINGS.len()] {
    [
        name::<RecordKind>(result.record_kind),
        result.name.clone(),
        result.client_reference.clone(),
        result.record_id.clone(),
        matched(result),
    ]
}

/// The field that matched, and whether the record is orphaned.
fn matched(result: &SearchResult) -> String {
    let what = match result.r#match() {
        SearchMatch::Reference => "reference or identifier".to_owned(),
        SearchMatch::CurrentName => "name".to_owned(),
        SearchMatch::OtherName => format!("other name: {}", result.matched_name),
        SearchMatch::Unspecified => String::new(),
    };
    match result.state() {
        RecordState::Orphaned => format!("{what} (orphaned)"),
        RecordState::Active | RecordState::Unspecified => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> SearchResults {
        let client = SearchResult {
            record_kind: RecordKind::Client.into(),
            record_id: "cli_1".to_owned(),
            name: "Müller & Ó Briain".to_owned(),
            client_reference: "MUL001".to_owned(),
            r#match: SearchMatch::CurrentName.into(),
            ..SearchResult::default()
        };
        let person = SearchResult {
            record_kind: RecordKind::Person.into(),
            record_id: "per_1".to_owned(),
            name: "Grace Okafor".to_owned(),
            r#match: SearchMatch::OtherName.into(),
            matched_name: "Grace Muller".to_owned(),
            state: RecordState::Orphaned.into(),
            ..SearchResult::default()
        };
        SearchResults { results: vec![client, person], truncated: true, more: false }
    }

    #[test]
    fn text_output_is_a_table() {
        assert_eq!(
            found().to_string(),
            "kind    name               reference  id     what matched\n\
             client  Müller & Ó Briain  MUL001     cli_1  name\n\
             person  Grace Okafor                  per_1  other name: Grace Muller (orphaned)"
        );
        assert_eq!(found().remarks().len(), 1);
        assert!(SearchResults::default().remarks()[0].contains("nothing was found"));
    }

    #[test]
    fn json_output_is_one_object() {
        let json = found().json().unwrap();
        assert_eq!(json["results"][1]["match"], "other_name");
        assert_eq!((&json["truncated"], &json["more"]), (&true.into(), &false.into()));
    }
}
