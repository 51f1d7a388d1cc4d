//! `tidings completions` and `tidings man`, generated from the definition of the
//! command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use crate::{Failure, print_bytes};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(tidings completions bash)         in ~/.bashrc
  source <(tidings completions zsh)          in ~/.zshrc
  tidings completions fish | source          in ~/.config/fish/config.fish

The script asks `tidings` itself for what can come next: commands, options, and the ids
of the tasks that are on the server at that moment.")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that can ask this program for completions.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Elvish => &Elvish,
            Self::Fish => &Fish,
            Self::Powershell => &Powershell,
            Self::Zsh => &Zsh,
        }
    }
}

/// Print the man page, or write one for every command into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings man | man -l -
  tidings man --out ~/.local/share/man/man1")]
pub struct Man {
    /// Write tidings.1, tidings-watch.1 and so on into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Answers a shell that asks for completions, and then ends the program. Without such a
/// request, returns and the program continues.
pub fn complete(cli: fn() -> clap::Command) {
    CompleteEnv::with_factory(cli).var(ASKED).complete();
}

/// The variable that a shell sets to ask for completions.
const ASKED: &str = "TIDINGS_COMPLETE";

pub(super) fn completions(arguments: &Completions) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    let completer = arguments.shell.completer();
    completer
        .write_registration(ASKED, "tidings", "tidings", "tidings", &mut script)
        .map_err(Failure::System)?;
    print_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man(arguments: &Man, cli: clap::Command) -> Result<ExitCode, Failure> {
    match &arguments.out {
        Some(path) => {
            let written = clap_mangen::generate_to(cli, path);
            written.map_err(|cause| Failure::Write {
                path: path.clone(),
                cause,
            })?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(cli)
                .render(&mut page)
                .map_err(Failure::System)?;
            print_bytes(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
