//! Rejects files in which the end of a quoted value is ambiguous.
//!
//! The CSV reader accepts any bytes: text after a closing quote becomes part of the
//! value, and a quote typed at the beginning of a name opens a value that extends to
//! the next quote, over any number of rows. So this module first checks a file strictly
//! against RFC 4180.
//!
//! A quote inside of a value that does not begin with one is text, as all readers
//! take it: `5" pipe`.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};

/// The maximum number of reported errors of a file.
const MAX_REPORTED: usize = 10;

/// The maximum number of listed lines inside a value, or not in UTF-8.
const MAX_LISTED: usize = 10;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

pub(crate) const REMEDY: &str = "A value that begins with a quote, contains a separator, or has several \
                      lines needs quotes around it, and each quote inside of it is doubled: \
                      \"\"\"A\"\" Ceramics Ltd\". A spreadsheet writes it so when it saves the \
                      file as “CSV UTF-8”. Remove a quote that was typed by mistake.";

/// The remedy for a valid value that is rejected. In rows there is no blank after a separator,
/// unlike in prose.
fn remedy_for_valid_value(separator: u8) -> String {
    let separator = match separator {
        b'\t' => "tab".to_owned(),
        separator => format!("`{}`", char::from(separator)),
    };
    format!(" If these lines belong to the value, type a blank after each {separator} in it.")
}

/// An error of a quoted value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QuoteError {
    /// The line of the quote, from 1.
    line: u64,
    /// The last line of the value.
    last: u64,
    kind: QuoteErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuoteErrorKind {
    /// The file ends inside of the value.
    NeverClosed,
    /// There is text between the closing quote and the next separator.
    TextAfter,
    /// The value has several lines, and at least as many separators as a row.
    ContainsRows,
    /// There are blanks before the quote, so that it is not an opening quote.
    BlankBefore,
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, last, kind } = self;
        write!(f, "line {line}: ")?;
        match kind {
            QuoteErrorKind::NeverClosed => f.write_str("a quote is opened and never closed")?,
            QuoteErrorKind::TextAfter if line == last => {
                f.write_str("a quote is opened, and there is text after its closing quote")?;
            }
            QuoteErrorKind::TextAfter => write!(
                f,
                "a quote is opened, and there is text after its closing quote on line {last}"
            )?,
            QuoteErrorKind::ContainsRows => write!(
                f,
                "a quote is opened and closed on line {last}, and the text between looks like rows"
            )?,
            QuoteErrorKind::BlankBefore => {
                f.write_str("there are blanks before a quote, which makes it part of the value")?;
            }
        }
        match last.saturating_sub(*line) {
            0 => Ok(()),
            more if more <= MAX_LISTED as u64 => {
                let lines: Vec<_> = (line + 1..=*last).map(|line| format!("line {line}")).collect();
                write!(f, "; {} would be read as part of this value", lines.join(", "))
            }
            _ => {
                write!(f, "; line {} to line {last} would be read as part of this value", line + 1)
            }
        }
    }
}

/// The state of the scanner within a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the beginning of a value, perhaps after blanks.
    Begin { blanks: bool },
    /// In an unquoted value.
    Plain,
    /// In a quoted value.
    Quoted,
    /// After a quote in a quoted value. It closes the value, unless another quote follows
    /// directly.
    Closing { blanks: bool },
}

/// A scanner of quotes, strictly as RFC 4180 defines them.
#[derive(Debug)]
pub(super) struct Scanner {
    separator: u8,
    /// The number of separators of a row; none when values are not searched for rows.
    width: Option<usize>,
    state: State,
    line: u64,
    /// The previous byte; a line end at the beginning.
    last: u8,
    /// The line of the opening quote of the current value.
    opened: u64,
    /// The number of separators in the current value.
    separators: usize,
    /// Whether one of them has no blank after it, unlike in prose.
    is_tight: bool,
}

impl Scanner {
    /// A scanner at the beginning of a line. With `columns`, the number of columns, it also
    /// rejects values that seem to contain other rows.
    pub(super) fn new(separator: u8, columns: Option<usize>, line: u64) -> Self {
        Self {
            separator,
            // With two columns, every line with a comma would look like a row.
            width: columns.map(|columns| columns.saturating_sub(1)).filter(|width| *width > 1),
            state: State::Begin { blanks: false },
            line,
            last: b'\n',
            opened: line,
            separators: 0,
            is_tight: false,
        }
    }

    /// Scans bytes. Returns the first error.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<QuoteError> {
        bytes.iter().find_map(|byte| self.take(*byte))
    }

    /// The error of a file that ends here, if any.
    pub(super) fn end(&self) -> Option<QuoteError> {
        match self.state {
            State::Quoted => {
                let is_new = matches!(self.last, b'\n' | b'\r');
                let last = if is_new { self.line - 1 } else { self.line };
                Some(QuoteError {
                    last: last.max(self.opened),
                    ..self.error(QuoteErrorKind::NeverClosed)
                })
            }
            State::Closing { .. } => self.check_rows(),
            State::Begin { .. } | State::Plain => None,
        }
    }

    fn take(&mut self, byte: u8) -> Option<QuoteError> {
        let last = std::mem::replace(&mut self.last, byte);
        if byte == b'\n' && last == b'\r' {
            // The second byte of a CRLF line end.
            return None;
        }
        let is_end = byte == b'\n' || byte == b'\r';
        if self.state == State::Quoted && last == self.separator && byte != b' ' && !is_end {
            self.is_tight = true;
        }
        let is_over = is_end || byte == self.separator;
        let error = match self.state {
            State::Begin { blanks: false } if byte == b'"' => {
                self.state = State::Quoted;
                (self.opened, self.separators, self.is_tight) = (self.line, 0, false);
                None
            }
            State::Begin { blanks: true } if byte == b'"' => {
                self.opened = self.line;
                Some(self.error(QuoteErrorKind::BlankBefore))
            }
            State::Quoted => {
                self.separators += usize::from(byte == self.separator);
                if byte == b'"' {
                    self.state = State::Closing { blanks: false };
                }
                None
            }
            State::Closing { blanks: false } if byte == b'"' => {
                self.state = State::Quoted;
                None
            }
            State::Closing { .. } if is_over => {
                self.state = State::Begin { blanks: false };
                self.check_rows()
            }
            State::Closing { .. } if byte == b' ' => {
                self.state = State::Closing { blanks: true };
                None
            }
            State::Closing { .. } => Some(self.error(QuoteErrorKind::TextAfter)),
            State::Begin { .. } | State::Plain => {
                self.state = match self.state {
                    _ if is_over => State::Begin { blanks: false },
                    State::Begin { .. } if is_blank(byte) => State::Begin { blanks: true },
                    _ => State::Plain,
                };
                None
            }
        };
        self.line += u64::from(is_end && error.is_none());
        error
    }

    /// The error of a value that has ended, when it seems to contain other rows.
    ///
    /// Two stray quotes in one column merge rows without changing the number of values. The
    /// value then contains the separators after that column of the first row, those before it
    /// of the last row, and all separators of the rows between: at least those of one row. A
    /// single line of it may contain few separators, and a line of an address as many as the
    /// columns before it, so that lines cannot be checked one by one.
    fn check_rows(&self) -> Option<QuoteError> {
        let contains_row =
            self.width.is_some_and(|width| self.separators >= width) && self.is_tight;
        (contains_row && self.opened < self.line).then(|| self.error(QuoteErrorKind::ContainsRows))
    }

    fn error(&self, kind: QuoteErrorKind) -> QuoteError {
        QuoteError { line: self.opened, last: self.line, kind }
    }
}

/// Whether the byte is a blank, or part of a byte order mark, which concatenated files contain.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0xef | 0xbb | 0xbf)
}

/// Checks a whole file. With `columns`, the number of columns, also rejects values that seem to
/// contain other rows.
///
/// # Errors
///
/// Lists the lines with errors, up to a limit.
pub(super) fn check(path: &Path, separator: u8, columns: Option<usize>) -> anyhow::Result<()> {
    let read = || FileErrors::of(BufReader::new(File::open(path)?), separator, columns);
    let FileErrors { not_utf_8, quotes } =
        read().with_context(|| format!("cannot read {}", path.display()))?;
    if let Some(first) = not_utf_8.first() {
        let others = not_utf_8.iter().skip(1).map(|line| format!(", nor is line {line}"));
        let others: Vec<String> = others.collect();
        bail!(
            "{}, line {first}: not in UTF-8{}; save the file as “CSV UTF-8”",
            path.display(),
            others.concat()
        );
    }
    let errors: Vec<_> =
        quotes.iter().map(|error| format!("{}, {error}", path.display())).collect();
    let may_be_valid = quotes.iter().any(|error| error.kind == QuoteErrorKind::ContainsRows);
    let more = if may_be_valid { remedy_for_valid_value(separator) } else { String::new() };
    ensure!(errors.is_empty(), "{}\n{REMEDY}{more}", errors.join("\n"));
    Ok(())
}

/// The errors of a file, up to a limit.
#[derive(Debug, Default)]
struct FileErrors {
    /// Lines that are not in UTF-8.
    not_utf_8: BTreeSet<u64>,
    quotes: Vec<QuoteError>,
}

impl FileErrors {
    /// Scans a whole file. After an error it continues at the next line as the beginning of a
    /// row, so that one stray quote does not hide others.
    fn of(
        mut file: impl BufRead + Seek,
        separator: u8,
        columns: Option<usize>,
    ) -> io::Result<Self> {
        let mut found = Self::default();
        let mut scanner = Scanner::new(separator, columns, 1);
        // The lines of the current row, with their offsets.
        let mut begins: Vec<(u64, u64)> = Vec::new();
        let (mut offset, mut bytes) = (0, Vec::new());
        while found.quotes.len() < MAX_REPORTED {
            let line = scanner.line;
            if scanner.state != State::Quoted {
                begins.clear();
            }
            begins.push((line, offset));
            bytes.clear();
            let read = file.read_until(b'\n', &mut bytes)?;
            offset += read as u64;
            if found.not_utf_8.len() < MAX_LISTED && std::str::from_utf8(&bytes).is_err() {
                found.not_utf_8.insert(line);
            }
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| line == 1);
            let text = text.unwrap_or(&bytes);
            let error = if read == 0 { scanner.end() } else { scanner.read(text) };
            let Some(error) = error else {
                if read == 0 {
                    break;
                }
                continue;
            };
            let next = begins.iter().copied().find(|(line, _)| *line > error.line);
            let (line, begin) = next.unwrap_or((line + 1, offset));
            offset = file.seek(SeekFrom::Start(begin))?;
            scanner = Scanner::new(separator, columns, line);
            found.quotes.push(error);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let columns = text.split(['\n', '\r']).next().unwrap_or_default().split(',').count();
        let errors = FileErrors::of(Cursor::new(text), b',', Some(columns)).unwrap();
        errors.quotes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn stray_quote_error_lists_the_merged_lines() {
        let text = "id,ref,name,phone\n1,a,\"Big Shed Ltd,\n2,b,Four Ltd,\n3,c,\"Fifth Ltd,\n";
        assert_eq!(
            errors(text),
            [
                "line 2: a quote is opened, and there is text after its closing quote on line 4; \
                 line 3, line 4 would be read as part of this value",
                "line 4: a quote is opened and never closed",
            ]
        );
        let whole = "id,ref,name,phone\n1,a,\"Big Shed Ltd,\n2,b,Four Ltd,\n3,c,Fifth Ltd\",\n";
        let reported = errors(whole);
        assert!(
            reported.len() == 1 && reported[0].starts_with("line 2: a quote is opened"),
            "{reported:?}"
        );
        assert!(reported[0].contains("closed on line 4, and the text between looks like rows"));
    }

    #[test]
    fn rows_merged_by_a_quote_are_rejected() {
        for text in [
            "id,ref,name,phone\n1,a,\"Big Ltd,7\n2,b,Four Ltd\",8\n",
            "id,ref,name,phone\r\n1,a,\"Big Ltd,7\r\n2,b,Four Ltd\",8",
            "id,ref,name,phone\r1,a,\"Big Ltd,7\r2,b,Four Ltd\",8\r",
            // With multiline values, so that no line is a whole row.
            "id,ref,name,phone\n1,\"x\ny\",\"Big Ltd,7\n2,b,Four Ltd\",\"8\n9\"\n",
            // Four quotes in two rows, in four columns.
            "a,b,c,d,e\n1,\"2,3,4,5\n6,7,8\",\"9,0\n1,2,3\",4,5\n",
            // In the last column, which contains nothing of the first row.
            "id,ref,name,phone\n1,a,Big Ltd,\"7\n2,b,Four Ltd,8\n3,c,x,9\"\n",
        ] {
            assert!(errors(text)[0].contains("the text between looks like rows"), "{text:?}");
        }
    }

    #[test]
    fn multiline_values_that_are_not_rows_are_accepted() {
        for text in [
            "id,kind,line,town,to\nA1,client,\"Unit 9\nBerry Court\",Leeds,\n",
            "id,kind,line,town,to\nA1,client,\"Unit 9,\nBerry, Court, of, Leeds,\nx\",Leeds,\n",
            "id,kind,line,town,to\nA1,\"a,b\",\"c,d\",e,\"Unit 9\nBerry Court\"\n",
            "id,name\n1,\"Smith,John\nBrown,Ann\"\n",
            // As many separators on a line as there are columns before or after it.
            "id,kind,line,town,to\nA1,client,\"Unit 9\n1 Quay,Leeds,UK\",Leeds,\n",
            "id,kind,line\nA1,client,\"Quay,Leeds\nUK\"\n",
            "id,name,x\n1,5\" pipe,Bob \"Bobby\" Smith\n",
            "id,name,x\n1,\"\"\"A\"\" CERAMICS\",\"\"\n2,\"x\" ,y\n",
            "\u{feff}\"id\",name,x\n1,2,3",
        ] {
            assert_eq!(errors(text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn ambiguous_quote_on_one_line_is_rejected() {
        for (row, expected) in [
            ("1,\"Big\" Shed,x", "line 2: a quote is opened, and there is text after"),
            ("1,\"Big \"Shed\" Ltd\",x", "line 2: a quote is opened, and there is text after"),
            ("1, \"Big, Shed\",x", "line 2: there are blanks before a quote"),
            ("1,\u{feff}\"Big\",x", "line 2: there are blanks before a quote"),
            ("1,Big,\"", "line 2: a quote is opened and never closed"),
        ] {
            let actual = errors(&format!("id,name,x\n{row}\n"));
            assert!(actual.len() == 1 && actual[0].starts_with(expected), "{row}: {actual:?}");
        }
    }

    #[test]
    fn errors_are_reported_up_to_a_limit() {
        let rows: Vec<String> = (0..30).map(|row| format!("{row},\"a\"b,\n")).collect();
        let reported = errors(&format!("id,name,x\n{}", rows.concat()));
        assert_eq!(reported.len(), MAX_REPORTED);
        assert!(reported[9].starts_with("line 11: "), "{reported:?}");
    }

    #[test]
    fn all_lines_not_in_utf_8_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, b"id,name\n1,S\xe9amus\n2,x\n3,Ren\xe9e\n").unwrap();
        let reported = check(&path, b',', Some(2)).unwrap_err().to_string();
        assert!(reported.contains("line 2: not in UTF-8, nor is line 4; save"), "{reported}");
    }

    #[test]
    fn value_like_rows_passes_with_blanks_after_separators() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let rejection = |text: &str| {
            std::fs::write(&path, text).unwrap();
            check(&path, b',', Some(3)).err().map(|error| error.to_string())
        };
        let reported =
            rejection("id,kind,line\nA1,client,\"1 Quay,Leeds\nYorkshire,UK\"\n").unwrap();
        assert!(reported.contains("line 2: a quote is opened and closed on line 3"), "{reported}");
        assert!(reported.contains("type a blank after each `,` in it"), "{reported}");
        let mended = "id,kind,line\nA1,client,\"1 Quay, Leeds\nYorkshire, UK\"\n";
        assert_eq!(rejection(mended), None);
        assert!(!rejection("id,kind,line\nA1,client,\"x\"y\n").unwrap().contains("blank after"));
    }

    fn cell() -> impl Strategy<Value = String> {
        prop_oneof![3 => "[ab\", ;\r\n]{0,6}", 1 => any::<String>()]
    }

    /// Rows of one width, without the empty ones that readers leave out.
    fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
        (2_usize..6).prop_flat_map(|columns| {
            prop::collection::vec(prop::collection::vec(cell(), columns), 1..6)
        })
    }

    fn written(table: &[Vec<String>], always: bool) -> Vec<u8> {
        let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut writer = csv::WriterBuilder::new().quote_style(style).from_writer(Vec::new());
        for row in table {
            writer.write_record(row).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
        let cells = |row: csv::StringRecord| row.iter().map(str::to_owned).collect();
        reader.records().map(|row| cells(row.unwrap())).collect()
    }

    /// The errors of quotes, without the search for rows.
    fn quote_errors(bytes: &[u8]) -> Vec<QuoteError> {
        FileErrors::of(Cursor::new(bytes), b',', None).unwrap().quotes
    }

    proptest! {
        #[test]
        fn written_file_is_accepted_and_reads_back(table in table(), always in any::<bool>()) {
            let bytes = written(&table, always);
            // The reader would strip it as the byte order mark of the file.
            prop_assume!(!table[0][0].starts_with('\u{feff}'));
            prop_assert_eq!(quote_errors(&bytes), []);
            prop_assert_eq!(read(&bytes), table);
        }

        /// In a file with plain values, a stray quote changes only its own value, or the file
        /// is rejected: by the scanner, or by the reader because of the length of a row.
        #[test]
        fn stray_quote_changes_no_other_value(
            table in (3_usize..6).prop_flat_map(|columns| {
                prop::collection::vec(prop::collection::vec("[ab][ab 0-9]{0,4}", columns), 1..8)
            }),
            places in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        ) {
            let mut bytes = written(&table, false);
            for place in &places {
                bytes.insert(place.index(bytes.len()), b'"');
            }
            let columns = table[0].len();
            let rows = read(&bytes);
            let errors = FileErrors::of(Cursor::new(&bytes), b',', Some(columns)).unwrap();
            let is_rejected = !errors.quotes.is_empty()
                || rows.iter().any(|row| row.len() != columns);
            if !is_rejected {
                prop_assert_eq!(rows.len(), table.len());
                for (read, was) in rows.iter().flatten().zip(table.iter().flatten()) {
                    prop_assert_eq!(&read.replace('"', ""), was);
                }
            }
        }
    }
}
