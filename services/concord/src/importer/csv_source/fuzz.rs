//! Fuzz tests of the file readers.

use concord_proto::pb::imports::{ImportRecord, import_record};
use concord_testing::fuzz::Fuzz;
use prost::Message as _;
use tempfile::TempDir;

use super::{read::Sheet, record::MAX_RECORD_BYTES, *};

/// A folder with one file, which is overwritten for each input.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, content: &[u8]) -> PathBuf {
        let path = self.0.path().join("file.csv");
        fs::write(&path, content).unwrap();
        path
    }
}

#[test]
fn file_is_read_completely_or_rejected() {
    let folder = Folder::new();
    Fuzz::corpus("csv").cases(1_000).check(|bytes| {
        let path = folder.with(bytes);
        let Ok(source) = Source::scan(&[path]) else { return };
        let mut records = 0;
        source
            .read(|record| {
                records += 1;
                assert!(record.len() <= MAX_RECORD_BYTES);
                assert!(ImportRecord::decode(record)?.record.is_some());
                Ok(())
            })
            .unwrap();
        assert_eq!(records, source.counts().all());
    });
}

/// No content makes the reader stop early or miscount rows.
#[test]
fn appended_row_is_counted() {
    let folder = Folder::new();
    let rows = |path: &Path| {
        let Ok(Sheet::Table(table)) = Sheet::open(path) else { return None };
        let (mut rows, mut width) = (0_usize, 0);
        let read = table.each_row(|row| {
            (rows, width) = (rows + 1, row.headings.len());
            Ok(())
        });
        read.ok().map(|()| (rows, width)).filter(|(rows, _)| *rows > 0)
    };
    Fuzz::corpus("csv").cases(1_000).check(|bytes| {
        let Some((before, width)) = rows(&folder.with(bytes)) else { return };
        let row = format!("\n{}", vec!["x"; width].join(","));
        let after = rows(&folder.with(&[bytes, row.as_bytes()].concat()));
        assert_eq!(after, Some((before + 1, width)));
    });
}

#[test]
fn failures_file_is_read_completely_or_rejected() {
    let folder = Folder::new();
    Fuzz::corpus("failures_file").cases(1_000).check(|bytes| {
        let Ok(rows) = failed_rows(&folder.with(bytes)) else { return };
        for row in rows {
            let Ok(Some(replacement)) = row.replacement() else { continue };
            let record = ImportRecord::decode(replacement.record).unwrap();
            assert_eq!(record.replaces, row.token_text());
            let source_id = match record.record.unwrap() {
                import_record::Record::Client(it) => it.source_id,
                import_record::Record::Contact(it) => it.source_id,
                import_record::Record::Address(it) => it.source_id,
            };
            assert_eq!(source_id, row.cell("source_id"));
        }
    });
}
