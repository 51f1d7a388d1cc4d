//! `--output`: for people or for programs.

/// The format of printed results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Tables and text for people.
    Table,
    /// One JSON object per line, for programs.
    Json,
}

/// The options that choose the format.
#[derive(Debug, clap::Args)]
pub struct Format {
    /// How to print results
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
    output: Output,

    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl Format {
    /// Returns true if the user has asked for JSON.
    pub fn is_json(&self) -> bool {
        self.json || self.output == Output::Json
    }
}
