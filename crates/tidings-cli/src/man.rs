//! `tidings completions` and `tidings man`: made from the command line's own definition.

use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::Shell;

use crate::{Failure, print_bytes};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tidings completions bash > ~/.local/share/bash-completion/completions/tidings
  tidings completions zsh > ~/.zfunc/_tidings
  tidings completions fish > ~/.config/fish/completions/tidings.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
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

pub(super) fn completions(
    arguments: &Completions,
    mut cli: clap::Command,
) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut cli, "tidings", &mut script);
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
