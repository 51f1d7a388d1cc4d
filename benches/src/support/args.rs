//! What a bench was asked for; the same words as Criterion's.

/// Arguments of a bench with sockets.
pub(crate) struct Args {
    /// One short round of each: does it run at all?
    pub(crate) quick: bool,
    /// Only what contains this text.
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

    /// The value after a flag, as in `--save-baseline main`.
    pub(crate) fn value(flag: &str) -> Option<String> {
        let mut args = std::env::args();
        args.find(|arg| arg == flag)?;
        args.next()
    }
}
