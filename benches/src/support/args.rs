//! The arguments of a bench, with the same names as Criterion's.

/// The arguments of a bench with sockets.
pub(crate) struct Args {
    /// Whether to run one short round of each measurement, to see whether it works.
    pub(crate) quick: bool,
    /// Run only the measurements whose names contain this text.
    pub(crate) only: Option<String>,
}

impl Args {
    /// Reads the command line.
    pub(crate) fn read() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        Self {
            quick: args.iter().any(|arg| arg == "--quick"),
            only: args
                .iter()
                .find_map(|arg| arg.strip_prefix("--only=").map(str::to_owned)),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    }

    /// Returns the value after a flag, as in `--save-baseline main`.
    pub(crate) fn value(flag: &str) -> Option<String> {
        let mut args = std::env::args();
        args.find(|arg| arg == flag)?;
        args.next()
    }
}
