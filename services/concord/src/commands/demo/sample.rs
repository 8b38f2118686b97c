//! The sample practice, embedded in the program.

use std::{fs, io, path::Path};

const FILES: [(&str, &str); 3] = [
    ("clients.csv", include_str!("../../../sample/clients.csv")),
    ("contacts.csv", include_str!("../../../sample/contacts.csv")),
    ("addresses.csv", include_str!("../../../sample/addresses.csv")),
];

/// Writes the files of the sample into a new folder.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    FILES.iter().try_for_each(|(name, content)| fs::write(folder.join(name), content))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use concord_core::rules::{import::parse_bytes, reason_code};

    use super::*;
    use crate::importer::csv_source::Source;

    #[test]
    fn sample_has_the_documented_invalid_rows() {
        let folder = tempfile::tempdir().unwrap();
        let sample = folder.path().join("sample");
        write(&sample).unwrap();
        let source = Source::scan(&[sample]).unwrap();
        assert!(source.remarks().is_empty(), "{:?}", source.remarks());
        let mut wrong = BTreeMap::new();
        source
            .read(|record| {
                for violation in parse_bytes(&record).outcome.err().iter().flatten() {
                    *wrong.entry(reason_code(violation.reason)).or_insert(0) += 1;
                }
                Ok(())
            })
            .unwrap();
        let expected = [
            ("ADDRESS_LINE_1_MISSING", 2),
            ("CLIENT_TYPE_EXCLUDED", 1),
            ("CONTACT_ROLE_MISSING", 1),
            ("INVALID_DATE", 1),
            ("INVALID_UTR", 1),
            ("REQUIRED_FIELD_BLANK", 2),
        ];
        assert_eq!(wrong, BTreeMap::from(expected));
    }
}
