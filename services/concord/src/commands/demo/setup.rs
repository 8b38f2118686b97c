//! What a demonstration runs with: the practice, the products, the addresses and the files.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::bail;

use crate::host::services::RunningService;

/// The practice.
pub(super) const PRACTICE: &str = "demo";
/// The product whose records are imported.
pub(super) const IMPORTING: &str = "manager";
/// The product that subscribes to the changes.
pub(super) const SUBSCRIBING: &str = "books";

/// The addresses and files of a demonstration.
#[derive(Debug)]
pub(super) struct DemoSetup {
    pub(super) records: SocketAddr,
    pub(super) imports: SocketAddr,
    /// The files of the sample practice.
    pub(super) sample: PathBuf,
    /// The failures file to write.
    pub(super) failures: PathBuf,
}

impl DemoSetup {
    /// The setup of running services, with files in `folder`.
    pub(super) fn of(services: &[RunningService], folder: &Path) -> anyhow::Result<Self> {
        let [records, imports] = services else { bail!("expected exactly two services") };
        Ok(Self {
            records: records.address(),
            imports: imports.address(),
            sample: folder.join("sample"),
            failures: folder.join("failures.csv"),
        })
    }
}
