//! Recording of the SQL statements of a call in the running service, so that a yardstick
//! executes the same statements, also after later changes of the service.

mod template;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::bail;
use concord_db::DatabaseSettings;
use sea_orm::Statement;

pub(crate) use template::{Step, Template, TemplateValue, TextPart};

/// The first statement of the sequencer after the commit. It and later statements are not
/// part of the call.
const SEQUENCER: &str = "SELECT f.product FROM feed_product f";

/// Pause before a recording, in which background work ends.
const QUIET: Duration = Duration::from_millis(300);

/// Maximum number of recordings until two are equal.
const ATTEMPTS: usize = 10;

/// Records the statements of a service that was started with [`observe`](Recorder::observe).
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    /// `None` while not recording.
    recorded: Arc<Mutex<Option<Vec<Statement>>>>,
}

/// The recording of a call.
#[derive(Debug)]
pub(crate) struct Recording<T> {
    pub(crate) statements: Vec<Statement>,
    pub(crate) made_with: T,
}

impl Recorder {
    /// The settings of a service whose statements are recorded.
    pub(crate) fn observe(&self, database: DatabaseSettings) -> DatabaseSettings {
        let recorded = Arc::clone(&self.recorded);
        database.observed(move |statement| {
            if let Some(statements) = &mut *recorded.lock().unwrap_or_else(PoisonError::into_inner)
            {
                statements.push(statement.clone());
            }
        })
    }

    fn begin(&self) {
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    fn end(&self) -> Vec<Statement> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Records two calls with the same statements, which excludes statements of background
    /// work.
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
                Some(last) if same_sql(&last.statements, &recording.statements) => {
                    return Ok([last, recording]);
                }
                _ => last = Some(recording),
            }
        }
        bail!("no two calls run the same statements")
    }
}

fn same_sql(one: &[Statement], other: &[Statement]) -> bool {
    !one.is_empty() && one.iter().map(|s| &s.sql).eq(other.iter().map(|s| &s.sql))
}
