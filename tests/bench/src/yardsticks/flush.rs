//! The write and flush of a page: the minimum wait of a commit.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    sync::Mutex,
};

/// The written data: one page of PostgreSQL, two of SQLite.
const PAGE: [u8; 8_192] = [1; 8_192];

/// A file to write to.
#[derive(Debug)]
pub(crate) struct Flush {
    file: Mutex<File>,
}

impl Flush {
    /// Creates the file, on the disk of the databases.
    pub(crate) async fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = File::create(folder.join("flush")).await?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Writes the page, flushes it and returns the duration.
    pub(crate) async fn once(&self) -> anyhow::Result<Duration> {
        let mut file = self.file.lock().await;
        let begun = Instant::now();
        file.rewind().await?;
        file.write_all(&PAGE).await?;
        file.sync_data().await?;
        Ok(begun.elapsed())
    }
}
