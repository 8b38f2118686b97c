//! What a call does in the database, statement by statement: recorded from the
//! service itself, so that a yardstick does the same, today and after the next
//! change.

mod template;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::bail;
use sea_orm::Statement;
use shared::db::DatabaseSettings;

pub(crate) use template::{Open, Piece, Step, Template};

/// With this the sequencer wakes up, after the commit: what comes from here on
/// is no longer of the call.
const SEQUENCER: &str = "SELECT f.product FROM feed_product f";

/// How long the work in the background has to end before a call is recorded.
const QUIET: Duration = Duration::from_millis(300);

/// How often a call is recorded before two recordings have to be alike.
const ATTEMPTS: usize = 10;

/// Hears every statement of a service that was started with
/// [`hear`](Recorder::hear).
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    /// None while nothing is recorded.
    heard: Arc<Mutex<Option<Vec<Statement>>>>,
}

/// A call that was recorded, and what it was made with.
#[derive(Debug)]
pub(crate) struct Recording<T> {
    pub(crate) statements: Vec<Statement>,
    pub(crate) made_with: T,
}

impl Recorder {
    /// The settings of a service that is to be heard.
    pub(crate) fn hear(&self, database: DatabaseSettings) -> DatabaseSettings {
        let heard = Arc::clone(&self.heard);
        database.observed(move |statement| {
            if let Some(heard) = &mut *heard.lock().unwrap_or_else(PoisonError::into_inner) {
                heard.push(statement.clone());
            }
        })
    }

    fn begin(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    fn end(&self) -> Vec<Statement> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Records two calls that run the same statements: with nothing of the work
    /// in the background among them.
    pub(crate) async fn record<T>(
        &self,
        mut call: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<[Recording<T>; 2]> {
        let mut last: Option<Recording<T>> = None;
        for _ in 0..ATTEMPTS {
            tokio::time::sleep(QUIET).await;
            self.begin();
            let made_with = call().await?;
            let mut statements = self.end();
            let end = statements.iter().position(|statement| statement.sql.starts_with(SEQUENCER));
            statements.truncate(end.unwrap_or(statements.len()));
            let recording = Recording { statements, made_with };
            match last {
                Some(last) if alike(&last.statements, &recording.statements) => {
                    return Ok([last, recording]);
                }
                _ => last = Some(recording),
            }
        }
        bail!("no two calls run the same statements")
    }
}

fn alike(one: &[Statement], other: &[Statement]) -> bool {
    !one.is_empty() && one.iter().map(|s| &s.sql).eq(other.iter().map(|s| &s.sql))
}
