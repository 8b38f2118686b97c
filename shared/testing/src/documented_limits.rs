//! The limits that `docs/limits.md` states.

use std::collections::BTreeMap;

/// The table in a section of `docs/limits.md`: maps the first cell of each row to the number
/// at the start of the second cell (sizes in bytes) and the row.
///
/// # Panics
///
/// If a row has no number.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn documented_limits(section: &str) -> BTreeMap<String, (u64, &'static str)> {
    let document = include_str!("../../../docs/limits.md");
    let (_, rest) = document.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap_or_default();
    // The first two lines are the heading and its rule.
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (name, limit) = (cells.next().unwrap(), cells.next().unwrap());
        let mut words = limit.split(' ');
        let number: u64 = words.next().unwrap().replace(',', "").parse().unwrap();
        let unit = match words.next() {
            Some("KiB") => 1_024,
            Some("MiB") => 1_024 * 1_024,
            _ => 1,
        };
        (name.to_owned(), (number * unit, row))
    })
    .collect()
}

/// Asserts that a section of `docs/limits.md` lists exactly these limits.
///
/// # Panics
///
/// If it does not.
pub fn assert_documented(section: &str, limits: &[(&str, u64)]) {
    let documented = documented_limits(section);
    let documented: BTreeMap<_, _> =
        documented.iter().map(|(name, (number, _))| (name.as_str(), *number)).collect();
    assert_eq!(documented, limits.iter().copied().collect(), "docs/limits.md, {section}");
}
