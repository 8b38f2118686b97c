//! Refuses a file in which the end of a quoted value is ambiguous.
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

/// Faults of a file that are reported, at most.
const TOLD: usize = 10;

/// Lines inside a value, or not in UTF-8, that are listed one by one, at most.
const NAMED: usize = 10;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

pub(crate) const REMEDY: &str = "A value that begins with a quote, holds a separator, or runs over several \
                      lines has quotes around it, and each quote inside of it is doubled: \
                      \"\"\"A\"\" Ceramics Ltd\". A spreadsheet writes it so when it saves the \
                      file as “CSV UTF-8”; a quote that was typed by mistake is taken out.";

/// What to do when a value is refused that is right. Rows have separators without blanks
/// behind them, prose does not.
fn remedy_of_right_value(separator: u8) -> String {
    let separator = match separator {
        b'\t' => "tab".to_owned(),
        separator => format!("`{}`", char::from(separator)),
    };
    format!(" If these lines do belong to the value, type a blank behind each {separator} in it.")
}

/// What makes the values of a file uncertain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The line of the quote, from 1.
    line: u64,
    /// The last line that the value would reach.
    last: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The file ends inside of the value.
    NeverClosed,
    /// There is text between the closing quote and the next separator.
    TextBehind,
    /// The value has several lines, and as many separators as a row.
    HoldsRows,
    /// The quote comes after blanks, and so would not count as one.
    BlankBefore,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, last, what } = self;
        write!(f, "line {line}: ")?;
        match what {
            What::NeverClosed => f.write_str("a quote is opened and never closed")?,
            What::TextBehind if line == last => {
                f.write_str("a quote is opened, and text stands behind the quote that closes it")?;
            }
            What::TextBehind => write!(
                f,
                "a quote is opened, and text stands behind the quote that closes it on line {last}"
            )?,
            What::HoldsRows => write!(
                f,
                "a quote is opened and closed on line {last}, and what is between looks like rows"
            )?,
            What::BlankBefore => {
                f.write_str("blanks stand before a quote, which would then be part of the value")?;
            }
        }
        match last.saturating_sub(*line) {
            0 => Ok(()),
            more if more <= NAMED as u64 => {
                let lines: Vec<_> = (line + 1..=*last).map(|line| format!("line {line}")).collect();
                write!(f, "; {} would be read as part of this value", lines.join(", "))
            }
            _ => {
                write!(f, "; line {} to line {last} would be read as part of this value", line + 1)
            }
        }
    }
}

/// Where the scanner is in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the beginning of a value; blanks may have come already.
    Begin { blanks: bool },
    /// In a value without quotes around it.
    Plain,
    /// In a value with quotes around it.
    Quoted,
    /// Behind a quote inside of such a value: it closes the value, unless another
    /// one follows at once.
    Closing { blanks: bool },
}

/// Reads the quotes of a file strictly as RFC 4180 defines them.
#[derive(Debug)]
pub(super) struct Scanner {
    separator: u8,
    /// The separators of a row; none when values are not searched for rows.
    width: Option<usize>,
    state: State,
    line: u64,
    /// The byte before; at the beginning, that of a line end.
    last: u8,
    /// The line on which the value at hand was opened.
    opened: u64,
    /// The separators in the value at hand.
    separators: usize,
    /// Whether one of them has no blank behind it, unlike in prose.
    is_tight: bool,
}

impl Scanner {
    /// At the beginning of a line of a file. With `columns`, the number of values of its
    /// rows, a value is refused that seems to hold other rows.
    pub(super) fn new(separator: u8, columns: Option<usize>, line: u64) -> Self {
        Self {
            separator,
            // Of rows of two values, every line with a comma would look like one.
            width: columns.map(|columns| columns.saturating_sub(1)).filter(|width| *width > 1),
            state: State::Begin { blanks: false },
            line,
            last: b'\n',
            opened: line,
            separators: 0,
            is_tight: false,
        }
    }

    /// Reads on; the first fault.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<Fault> {
        bytes.iter().find_map(|byte| self.take(*byte))
    }

    /// The fault of a file that ends here.
    pub(super) fn end(&self) -> Option<Fault> {
        match self.state {
            State::Quoted => {
                let is_new = matches!(self.last, b'\n' | b'\r');
                let last = if is_new { self.line - 1 } else { self.line };
                Some(Fault { last: last.max(self.opened), ..self.fault(What::NeverClosed) })
            }
            State::Closing { .. } => self.swallowed(),
            State::Begin { .. } | State::Plain => None,
        }
    }

    fn take(&mut self, byte: u8) -> Option<Fault> {
        let last = std::mem::replace(&mut self.last, byte);
        if byte == b'\n' && last == b'\r' {
            // The second byte of one line end.
            return None;
        }
        let is_end = byte == b'\n' || byte == b'\r';
        if self.state == State::Quoted && last == self.separator && byte != b' ' && !is_end {
            self.is_tight = true;
        }
        let is_over = is_end || byte == self.separator;
        let fault = match self.state {
            State::Begin { blanks: false } if byte == b'"' => {
                self.state = State::Quoted;
                (self.opened, self.separators, self.is_tight) = (self.line, 0, false);
                None
            }
            State::Begin { blanks: true } if byte == b'"' => {
                self.opened = self.line;
                Some(self.fault(What::BlankBefore))
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
                self.swallowed()
            }
            State::Closing { .. } if byte == b' ' => {
                self.state = State::Closing { blanks: true };
                None
            }
            State::Closing { .. } => Some(self.fault(What::TextBehind)),
            State::Begin { .. } | State::Plain => {
                self.state = match self.state {
                    _ if is_over => State::Begin { blanks: false },
                    State::Begin { .. } if is_blank(byte) => State::Begin { blanks: true },
                    _ => State::Plain,
                };
                None
            }
        };
        self.line += u64::from(is_end && fault.is_none());
        fault
    }

    /// The fault of a value that has ended, when it seems to hold other rows.
    ///
    /// Two quotes join rows without a trace in the number of values when both stand in
    /// the same column. The value then holds the separators behind that column of the
    /// first row, those before it of the last row, and all of the rows between: those of
    /// a whole row at least. One line of it may hold few of them, and a line of an
    /// address as many as the columns before it, so that lines say nothing.
    fn swallowed(&self) -> Option<Fault> {
        let holds_row = self.width.is_some_and(|width| self.separators >= width) && self.is_tight;
        (holds_row && self.opened < self.line).then(|| self.fault(What::HoldsRows))
    }

    fn fault(&self, what: What) -> Fault {
        Fault { line: self.opened, last: self.line, what }
    }
}

/// A blank, or a byte of a byte order mark, which joined files have in between.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0xef | 0xbb | 0xbf)
}

/// Checks a file from its first byte to its last. With `columns`, the number of columns
/// of its heading, values that seem to hold other rows are faults too.
///
/// # Errors
///
/// Names the lines with faults, up to a limit.
pub(super) fn check(path: &Path, separator: u8, columns: Option<usize>) -> anyhow::Result<()> {
    let read = || Faults::of(BufReader::new(File::open(path)?), separator, columns);
    let Faults { foreign, quotes } =
        read().with_context(|| format!("cannot read {}", path.display()))?;
    if let Some(first) = foreign.first() {
        let others = foreign.iter().skip(1).map(|line| format!(", nor is line {line}"));
        let others: Vec<String> = others.collect();
        bail!(
            "{}, line {first}: not in UTF-8{}; save the file as “CSV UTF-8”",
            path.display(),
            others.concat()
        );
    }
    let told: Vec<_> = quotes.iter().map(|fault| format!("{}, {fault}", path.display())).collect();
    let may_be_right = quotes.iter().any(|fault| fault.what == What::HoldsRows);
    let more = if may_be_right { remedy_of_right_value(separator) } else { String::new() };
    ensure!(told.is_empty(), "{}\n{REMEDY}{more}", told.join("\n"));
    Ok(())
}

/// What was found in a file, up to a limit.
#[derive(Debug, Default)]
struct Faults {
    /// Lines that are not in UTF-8.
    foreign: BTreeSet<u64>,
    quotes: Vec<Fault>,
}

impl Faults {
    /// Reads a file to its end. Behind the line of a fault, the next line is taken
    /// for the beginning of a row, so that one stray quote does not hide others.
    fn of(
        mut file: impl BufRead + Seek,
        separator: u8,
        columns: Option<usize>,
    ) -> io::Result<Self> {
        let mut found = Self::default();
        let mut scanner = Scanner::new(separator, columns, 1);
        // The lines of the row at hand: which they are, and where each begins.
        let mut begins: Vec<(u64, u64)> = Vec::new();
        let (mut place, mut bytes) = (0, Vec::new());
        while found.quotes.len() < TOLD {
            let line = scanner.line;
            if scanner.state != State::Quoted {
                begins.clear();
            }
            begins.push((line, place));
            bytes.clear();
            let read = file.read_until(b'\n', &mut bytes)?;
            place += read as u64;
            if found.foreign.len() < NAMED && std::str::from_utf8(&bytes).is_err() {
                found.foreign.insert(line);
            }
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| line == 1);
            let text = text.unwrap_or(&bytes);
            let fault = if read == 0 { scanner.end() } else { scanner.read(text) };
            let Some(fault) = fault else {
                if read == 0 {
                    break;
                }
                continue;
            };
            let next = begins.iter().copied().find(|(line, _)| *line > fault.line);
            let (line, begin) = next.unwrap_or((line + 1, place));
            place = file.seek(SeekFrom::Start(begin))?;
            scanner = Scanner::new(separator, columns, line);
            found.quotes.push(fault);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let columns = text.split(['\n', '\r']).next().unwrap_or_default().split(',').count();
        let faults = Faults::of(Cursor::new(text), b',', Some(columns)).unwrap();
        faults.quotes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_quote_that_swallows_rows_is_told_with_its_line_and_theirs() {
        let text = "id,ref,name,phone\n1,a,\"Big Shed Ltd,\n2,b,Four Ltd,\n3,c,\"Fifth Ltd,\n";
        assert_eq!(
            faults(text),
            [
                "line 2: a quote is opened, and text stands behind the quote that closes it on \
                 line 4; line 3, line 4 would be read as part of this value",
                "line 4: a quote is opened and never closed",
            ]
        );
        let whole = "id,ref,name,phone\n1,a,\"Big Shed Ltd,\n2,b,Four Ltd,\n3,c,Fifth Ltd\",\n";
        let told = faults(whole);
        assert!(told.len() == 1 && told[0].starts_with("line 2: a quote is opened"), "{told:?}");
        assert!(told[0].contains("closed on line 4, and what is between looks like rows"));
    }

    #[test]
    fn the_rows_of_two_lines_that_a_quote_has_joined_are_refused() {
        for text in [
            "id,ref,name,phone\n1,a,\"Big Ltd,7\n2,b,Four Ltd\",8\n",
            "id,ref,name,phone\r\n1,a,\"Big Ltd,7\r\n2,b,Four Ltd\",8",
            "id,ref,name,phone\r1,a,\"Big Ltd,7\r2,b,Four Ltd\",8\r",
            // Beside values of several lines, so that no line is a whole row.
            "id,ref,name,phone\n1,\"x\ny\",\"Big Ltd,7\n2,b,Four Ltd\",\"8\n9\"\n",
            // Four quotes in two rows, in four columns.
            "a,b,c,d,e\n1,\"2,3,4,5\n6,7,8\",\"9,0\n1,2,3\",4,5\n",
            // In the last column, where nothing of the first row is inside.
            "id,ref,name,phone\n1,a,Big Ltd,\"7\n2,b,Four Ltd,8\n3,c,x,9\"\n",
        ] {
            assert!(faults(text)[0].contains("what is between looks like rows"), "{text:?}");
        }
    }

    #[test]
    fn values_over_several_lines_are_taken_when_they_are_no_rows() {
        for text in [
            "id,kind,line,town,to\nA1,client,\"Unit 9\nBerry Court\",Leeds,\n",
            "id,kind,line,town,to\nA1,client,\"Unit 9,\nBerry, Court, of, Leeds,\nx\",Leeds,\n",
            "id,kind,line,town,to\nA1,\"a,b\",\"c,d\",e,\"Unit 9\nBerry Court\"\n",
            "id,name\n1,\"Smith,John\nBrown,Ann\"\n",
            // As many separators on a line as there are columns before it, or behind it.
            "id,kind,line,town,to\nA1,client,\"Unit 9\n1 Quay,Leeds,UK\",Leeds,\n",
            "id,kind,line\nA1,client,\"Quay,Leeds\nUK\"\n",
            "id,name,x\n1,5\" pipe,Bob \"Bobby\" Smith\n",
            "id,name,x\n1,\"\"\"A\"\" CERAMICS\",\"\"\n2,\"x\" ,y\n",
            "\u{feff}\"id\",name,x\n1,2,3",
        ] {
            assert_eq!(faults(text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_ambiguous_on_its_own_line_is_refused() {
        for (row, told) in [
            ("1,\"Big\" Shed,x", "line 2: a quote is opened, and text stands behind the quote"),
            ("1,\"Big \"Shed\" Ltd\",x", "line 2: a quote is opened, and text stands behind"),
            ("1, \"Big, Shed\",x", "line 2: blanks stand before a quote"),
            ("1,\u{feff}\"Big\",x", "line 2: blanks stand before a quote"),
            ("1,Big,\"", "line 2: a quote is opened and never closed"),
        ] {
            let told_of = faults(&format!("id,name,x\n{row}\n"));
            assert!(told_of.len() == 1 && told_of[0].starts_with(told), "{row}: {told_of:?}");
        }
    }

    #[test]
    fn every_line_with_a_fault_is_told_up_to_a_limit() {
        let rows: Vec<String> = (0..30).map(|row| format!("{row},\"a\"b,\n")).collect();
        let told = faults(&format!("id,name,x\n{}", rows.concat()));
        assert_eq!(told.len(), TOLD);
        assert!(told[9].starts_with("line 11: "), "{told:?}");
    }

    #[test]
    fn lines_that_are_not_in_utf_8_are_all_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, b"id,name\n1,S\xe9amus\n2,x\n3,Ren\xe9e\n").unwrap();
        let told = check(&path, b',', Some(2)).unwrap_err().to_string();
        assert!(told.contains("line 2: not in UTF-8, nor is line 4; save"), "{told}");
    }

    #[test]
    fn a_value_that_is_taken_for_rows_passes_with_blanks_behind_its_separators() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            check(&path, b',', Some(3)).err().map(|error| error.to_string())
        };
        let told = refused("id,kind,line\nA1,client,\"1 Quay,Leeds\nYorkshire,UK\"\n").unwrap();
        assert!(told.contains("line 2: a quote is opened and closed on line 3"), "{told}");
        assert!(told.contains("type a blank behind each `,` in it"), "{told}");
        let mended = "id,kind,line\nA1,client,\"1 Quay, Leeds\nYorkshire, UK\"\n";
        assert_eq!(refused(mended), None);
        assert!(!refused("id,kind,line\nA1,client,\"x\"y\n").unwrap().contains("blank behind"));
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

    /// The faults of quotes alone, whatever the values look like.
    fn by_the_letter(bytes: &[u8]) -> Vec<Fault> {
        Faults::of(Cursor::new(bytes), b',', None).unwrap().quotes
    }

    proptest! {
        #[test]
        fn what_a_writer_writes_is_taken_and_read_back(table in table(), always in any::<bool>()) {
            let bytes = written(&table, always);
            // The reader takes it for the mark of the file.
            prop_assume!(!table[0][0].starts_with('\u{feff}'));
            prop_assert_eq!(by_the_letter(&bytes), []);
            prop_assert_eq!(read(&bytes), table);
        }

        /// Of a file with plain values, one stray quote changes one value by that
        /// quote, or the file is refused: by the reader too, for a row of another
        /// length.
        #[test]
        fn a_stray_quote_changes_no_other_value(
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
            let refused = !Faults::of(Cursor::new(&bytes), b',', Some(columns)).unwrap().quotes.is_empty()
                || rows.iter().any(|row| row.len() != columns);
            if !refused {
                prop_assert_eq!(rows.len(), table.len());
                for (read, was) in rows.iter().flatten().zip(table.iter().flatten()) {
                    prop_assert_eq!(&read.replace('"', ""), was);
                }
            }
        }
    }
}
