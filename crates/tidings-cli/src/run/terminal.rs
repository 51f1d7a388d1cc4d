//! The terminal of this program, and the terminal of the command.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

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

/// Gives the command's terminal the size of this program's terminal, and makes it pass
/// bytes on unchanged. This program's terminal converts the line ends for the screen.
pub(super) fn prepare(pty: &Pty, pts: &Pts) -> io::Result<()> {
    resize(pty, size().unwrap_or(Size::USUAL));
    let mut modes = tcgetattr(pts)?;
    modes.output_modes.remove(OutputModes::OPOST);
    tcsetattr(pts, OptionalActions::Now, &modes)?;
    Ok(())
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
pub(super) struct RawInput(Termios);

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
        Ok(Self(saved))
    }
}

impl Drop for RawInput {
    fn drop(&mut self) {
        // The terminal may no longer exist.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
