//! A page to the disk, flushed: the least that a commit waits for.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    fs::File,
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    sync::Mutex,
};

/// What is written: a page of PostgreSQL, two of SQLite.
const PAGE: [u8; 8_192] = [1; 8_192];

/// A file to write to.
#[derive(Debug)]
pub(crate) struct Flush {
    file: Mutex<File>,
}

impl Flush {
    /// Makes the file, on the disk of the databases.
    pub(crate) async fn open(folder: &Path) -> anyhow::Result<Self> {
        let file = File::create(folder.join("flush")).await?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Writes the page and waits for the disk.
    pub(crate) async fn once(&self) -> anyhow::Result<Duration> {
        let mut file = self.file.lock().await;
        let begun = Instant::now();
        file.rewind().await?;
        file.write_all(&PAGE).await?;
        file.sync_data().await?;
        Ok(begun.elapsed())
    }
}
