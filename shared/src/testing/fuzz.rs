//! Input that nobody would send, for the tests of everything that reads input.
//!
//! A [`Fuzz`] begins with the files of a corpus, `tests/corpus/<target>/`, and with
//! what a test adds to them. It shows a property each of these as it is, then inputs
//! made of them (bytes changed, cut, doubled, spliced; the values inside a protobuf
//! message replaced), then raw bytes. An input under which the property panics is
//! made as small as it can be and written to a file, whose name is told: copied into
//! the corpus, it is tried first from then on.
//!
//! The cases are few, so that all of these tests together take less than a minute;
//! `CONCORD_FUZZ_CASES=100000` makes them as many as there is time for. proptest's
//! `PROPTEST_RNG_SEED` makes the same ones again.

mod harm;
mod message;

use std::{
    env, fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};

use harm::harmed;

/// The variable with a number of cases, for tests that would take fewer.
pub const CASES: &str = "CONCORD_FUZZ_CASES";

/// Where the corpora are.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");

/// Raw bytes of an input at most; what is made of the corpus may be longer.
const MAX_RAW: usize = 400;

/// Steps towards the smallest input that fails.
const MAX_SHRINKING: u32 = 20_000;

/// An input, shown as a shell or a Rust program would write it.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(pub Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// What to begin with, and how long to go on.
#[derive(Debug)]
pub struct Fuzz {
    target: String,
    seeds: Vec<Vec<u8>>,
    cases: u32,
}

impl Fuzz {
    /// With the files of `tests/corpus/<target>/`.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn of(target: &str) -> Self {
        let folder = Path::new(CORPUS).join(target);
        let files = fs::read_dir(&folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = files.map_while(Result::ok).map(|it| it.path()).collect();
        paths.sort();
        let seeds: Vec<_> = paths.iter().map_while(|path| fs::read(path).ok()).collect();
        assert!(
            !seeds.is_empty() && seeds.len() == paths.len(),
            "cannot read {}",
            folder.display()
        );
        Self { target: target.to_owned(), seeds, cases: 256 }
    }

    /// With nothing but what is added; `target` is for people.
    pub fn called(target: &str) -> Self {
        Self { target: target.to_owned(), seeds: Vec::new(), cases: 256 }
    }

    /// With another seed, which no file can hold: one with a signature or an id of
    /// the test.
    #[must_use]
    pub fn and(mut self, seed: impl Into<Vec<u8>>) -> Self {
        self.seeds.push(seed.into());
        self
    }

    /// With a protobuf message, and with what becomes of it when each of its values,
    /// and each that it may have, is what a database refuses.
    #[must_use]
    pub fn and_spoilt(mut self, message: &[u8]) -> Self {
        self.seeds.push(message.to_owned());
        self.seeds.extend(message::spoilt(message));
        self
    }

    /// With so many cases, or more when the environment asks for them.
    #[must_use]
    pub fn cases(self, cases: u32) -> Self {
        Self { cases, ..self }
    }

    /// Shows the property each seed, then inputs made of them and raw bytes.
    ///
    /// # Panics
    ///
    /// When the property does; the message names a file with the input.
    pub fn hold(&self, property: impl Fn(&[u8])) {
        for seed in &self.seeds {
            self.tried(seed, &property);
        }
        let outcome = self.runner().run(&inputs(self.seeds.clone()), |Input(input)| {
            property(&input);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, input)) => self.fail(&why.to_string(), &input),
            Err(TestError::Abort(why)) => panic!("{}: {why}", self.target),
        }
    }

    /// As [`hold`](Self::hold), with the input as text: what is not UTF-8 in it is
    /// replaced.
    ///
    /// # Panics
    ///
    /// When the property does.
    pub fn hold_text(&self, property: impl Fn(&str)) {
        self.hold(|input| property(&String::from_utf8_lossy(input)));
    }

    /// Says which seed it was, when one fails.
    fn tried(&self, seed: &[u8], property: &impl Fn(&[u8])) {
        let tried = std::panic::AssertUnwindSafe(|| property(seed));
        if std::panic::catch_unwind(tried).is_err() {
            self.fail("the panic above", &Input(seed.to_owned()));
        }
    }

    fn runner(&self) -> TestRunner {
        TestRunner::new(Config {
            cases: cases(self.cases),
            max_shrink_iters: MAX_SHRINKING,
            // The corpus keeps what was found.
            failure_persistence: None,
            ..Config::default()
        })
    }

    fn fail(&self, why: &str, input: &Input) -> ! {
        let mut name = DefaultHasher::new();
        input.0.hash(&mut name);
        let folder = env::temp_dir().join("concord-fuzz").join(&self.target);
        let file = folder.join(format!("{:016x}", name.finish()));
        let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &input.0));
        let place = kept.map_or_else(|error| error.to_string(), |()| file.display().to_string());
        panic!("{}: {why}\n  input: {input:?}\n  kept in: {place}", self.target);
    }
}

/// These cases, or more when the environment asks for them.
fn cases(few: u32) -> u32 {
    let Ok(text) = env::var(CASES) else { return few };
    let asked: u32 = text.parse().unwrap_or_else(|_| panic!("{CASES} is no number: {text}"));
    asked.max(few)
}

/// Inputs made of the seeds, and raw bytes.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let raw = prop::collection::vec(any::<u8>(), 0..MAX_RAW).prop_map(Input);
    if seeds.is_empty() {
        return raw.boxed();
    }
    prop_oneof![7 => harmed(seeds).prop_map(Input), 1 => raw].boxed()
}

#[cfg(test)]
mod tests;
