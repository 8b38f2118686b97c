//! The options of the commands that list results, such as `concord find` and
//! `concord imports list`.

use clap::Args;

/// How many results are shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ResultOptions {
    /// Show at most this many
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    limit: u32,
}

impl ResultOptions {
    /// The maximum number of results.
    pub(crate) fn limit(self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}
