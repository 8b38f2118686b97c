//! Queries of support: search, record summary, audit.

mod audit;
mod search;
mod search_result;
mod summary;

#[cfg(test)]
pub(crate) use search::MAX_CANDIDATES;
pub(crate) use search::SearchCommand;
