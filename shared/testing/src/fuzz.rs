//! Mutation-based fuzzing for the tests of parsers and decoders.
//!
//! A [`Fuzz`] starts with the seeds: the files of a corpus, `tests/corpus/<target>/`, and
//! the inputs that a test adds. It checks a property on each seed, then on mutated seeds
//! (bytes changed, cut, repeated, spliced; the values in a protobuf message replaced) and
//! on random bytes. An input that makes the property panic is shrunk and written to a file;
//! the panic message names the file. Copy it into the corpus to check it first from then
//! on.
//!
//! The default number of cases is small: all of these tests take less than a minute.
//! `CONCORD_FUZZ_CASES=100000` increases it. `PROPTEST_RNG_SEED` of proptest repeats a run.

mod message;
mod mutation;

use std::{
    env, fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};

use mutation::mutated;

/// Environment variable: the minimum number of cases of each test.
pub const CASES: &str = "CONCORD_FUZZ_CASES";

/// The folder of the corpora.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus");

/// Maximum size of a random input, in bytes. A mutated seed may be longer.
const MAX_RAW: usize = 400;

/// Maximum number of shrinking steps.
const MAX_SHRINKING: u32 = 20_000;

/// An input. `Debug` shows it as a byte string literal.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(pub Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// A fuzz test: its seeds and number of cases.
#[derive(Debug)]
pub struct Fuzz {
    target: String,
    seeds: Vec<Vec<u8>>,
    cases: u32,
}

impl Fuzz {
    /// A fuzz test with the seeds of `tests/corpus/<target>/`.
    ///
    /// # Panics
    ///
    /// If the corpus is empty or cannot be read.
    pub fn corpus(target: &str) -> Self {
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

    /// A fuzz test without a corpus. `target` names it in messages.
    pub fn new(target: &str) -> Self {
        Self { target: target.to_owned(), seeds: Vec::new(), cases: 256 }
    }

    /// Adds a seed that no file can contain, such as one with a signature or an id of the
    /// test.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<Vec<u8>>) -> Self {
        self.seeds.push(seed.into());
        self
    }

    /// Adds a protobuf message as a seed, and its variants in which one present or absent
    /// field has a value that databases reject.
    #[must_use]
    pub fn seed_with_invalid_values(mut self, message: &[u8]) -> Self {
        self.seeds.push(message.to_owned());
        self.seeds.extend(message::with_invalid_values(message));
        self
    }

    /// Sets the number of cases. The environment variable [`CASES`] may increase it.
    #[must_use]
    pub fn cases(self, cases: u32) -> Self {
        Self { cases, ..self }
    }

    /// Checks the property on each seed, then on mutated seeds and random bytes.
    ///
    /// # Panics
    ///
    /// If the property panics. The message names a file with the input.
    pub fn check(&self, property: impl Fn(&[u8])) {
        for seed in &self.seeds {
            self.check_seed(seed, &property);
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

    /// As [`check`](Self::check), with the input as text. Invalid UTF-8 is replaced.
    ///
    /// # Panics
    ///
    /// If the property panics.
    pub fn check_text(&self, property: impl Fn(&str)) {
        self.check(|input| property(&String::from_utf8_lossy(input)));
    }

    /// Checks one seed, and reports it if the property panics.
    fn check_seed(&self, seed: &[u8], property: &impl Fn(&[u8])) {
        let check = std::panic::AssertUnwindSafe(|| property(seed));
        if std::panic::catch_unwind(check).is_err() {
            self.fail("the panic above", &Input(seed.to_owned()));
        }
    }

    fn runner(&self) -> TestRunner {
        TestRunner::new(Config {
            cases: cases(self.cases),
            max_shrink_iters: MAX_SHRINKING,
            // Found inputs are kept in the corpus.
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
        let location = kept.map_or_else(|error| error.to_string(), |()| file.display().to_string());
        panic!("{}: {why}\n  input: {input:?}\n  kept in: {location}", self.target);
    }
}

/// The number of cases: the larger of `default` and the environment variable.
fn cases(default: u32) -> u32 {
    let Ok(text) = env::var(CASES) else { return default };
    let cases: u32 = text.parse().unwrap_or_else(|_| panic!("{CASES} is not a number: {text}"));
    cases.max(default)
}

/// Mutated seeds, and random bytes.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let raw = prop::collection::vec(any::<u8>(), 0..MAX_RAW).prop_map(Input);
    if seeds.is_empty() {
        return raw.boxed();
    }
    prop_oneof![7 => mutated(seeds).prop_map(Input), 1 => raw].boxed()
}

#[cfg(test)]
mod tests;
