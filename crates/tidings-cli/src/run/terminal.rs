//! The terminal of this program, and the terminal of the command.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;

use pty_process::blocking::{Pts, Pty};
use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize,
    tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::screen::Size;

/// Returns true if this program receives the keys. A background job must not change its
/// terminal.
pub(super) fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Returns true if this program has a controlling terminal.
pub(super) fn is_controlled() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Returns true if this program is in the foreground of its controlling terminal.
pub(super) fn is_foreground_of_controlling() -> bool {
    let terminal = File::open("/dev/tty");
    terminal
        .is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp()))
}

/// Returns the size of the first stream of this program that is a terminal.
pub(super) fn size() -> Option<Size> {
    let streams = [
        tcgetwinsize(io::stdout()),
        tcgetwinsize(io::stderr()),
        tcgetwinsize(io::stdin()),
    ];
    let size = streams.into_iter().flatten().find(|size| size.ws_col > 0)?;
    Some(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Gives the command's terminal the size of this program's terminal. If the command's
/// terminal `replaces` the one of this program, the command finds the same modes.
/// Otherwise its terminal passes bytes on unchanged.
pub(super) fn prepare(pty: &Pty, pts: &Pts, replaces: bool) -> io::Result<()> {
    resize(pty, size().unwrap_or(Size::USUAL));
    let modes = if replaces {
        tcgetattr(io::stdin())?
    } else {
        let mut modes = tcgetattr(pts)?;
        modes.output_modes.remove(OutputModes::OPOST);
        modes
    };
    tcsetattr(pts, OptionalActions::Now, &modes)?;
    Ok(())
}

/// Returns true if two streams are the same terminal, pipe or file.
pub(super) fn are_one(one: impl AsFd, other: impl AsFd) -> bool {
    let id = |stream: BorrowedFd<'_>| {
        let file = File::from(stream.try_clone_to_owned()?).metadata()?;
        Ok::<_, io::Error>((file.dev(), file.ino()))
    };
    let ids = (id(one.as_fd()), id(other.as_fd()));
    matches!(ids, (Ok(one), Ok(other)) if one == other)
}

/// Returns true if a terminal adds a carriage return to each line feed.
pub(super) fn adds_returns(terminal: impl AsFd) -> bool {
    let adds = OutputModes::OPOST | OutputModes::ONLCR;
    tcgetattr(terminal).is_ok_and(|modes| modes.output_modes.contains(adds))
}

/// Sets the size of the command's terminal.
pub(super) fn resize(pty: impl AsFd, size: Size) {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // The terminal no longer exists if the command has ended.
    let _ = tcsetwinsize(pty, size);
}

/// Returns another handle of the same terminal.
pub(super) fn duplicate(pty: &Pty) -> io::Result<File> {
    Ok(File::from(pty.as_fd().try_clone_to_owned()?))
}

/// The raw mode of this program's terminal. It passes on each key, including Ctrl-C,
/// and the command's terminal gives the key its meaning. Dropping this restores the
/// mode.
#[derive(Debug)]
pub(super) struct RawInput {
    saved: Termios,
    raw: Termios,
    /// True if the terminal passes output on unchanged.
    raw_output: bool,
}

impl RawInput {
    pub(super) fn enter() -> io::Result<Self> {
        let saved = tcgetattr(io::stdin())?;
        let mut raw = saved.clone();
        raw.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        raw.input_modes.remove(
            InputModes::IXON
                | InputModes::ICRNL
                | InputModes::INLCR
                | InputModes::IGNCR
                | InputModes::BRKINT
                | InputModes::ISTRIP,
        );
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self {
            saved,
            raw,
            raw_output: false,
        })
    }

    /// Makes the terminal pass output on unchanged, or as it did before.
    pub(super) fn set_raw_output(&mut self, raw_output: bool) {
        if self.raw_output == raw_output {
            return;
        }
        let mut modes = self.raw.clone();
        if raw_output {
            modes.output_modes.remove(OutputModes::OPOST);
        }
        // The terminal may no longer exist.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &modes);
        self.raw_output = raw_output;
    }
}

impl Drop for RawInput {
    fn drop(&mut self) {
        // The terminal may no longer exist.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.saved);
    }
}
