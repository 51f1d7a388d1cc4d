//! Our own terminal, and the command's.

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

/// Whether what is typed is for us: a background job must not touch its terminal.
pub(super) fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Whether this program has a controlling terminal.
pub(super) fn is_controlled() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether this program is in the foreground of its controlling terminal.
pub(super) fn is_foreground_of_controlling() -> bool {
    let terminal = File::open("/dev/tty");
    terminal
        .is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp()))
}

/// The size of whichever of our streams is a terminal.
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

/// Makes the command's terminal as large as ours, and one that changes none of
/// its bytes: turning line ends into what a screen needs is done by ours.
pub(super) fn prepare(pty: &Pty, pts: &Pts) -> io::Result<()> {
    resize(pty, size().unwrap_or(Size::USUAL));
    let mut modes = tcgetattr(pts)?;
    modes.output_modes.remove(OutputModes::OPOST);
    tcsetattr(pts, OptionalActions::Now, &modes)?;
    Ok(())
}

/// Gives the command's terminal a size.
pub(super) fn resize(pty: impl AsFd, size: Size) {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // It is gone if the command has ended.
    let _ = tcsetwinsize(pty, size);
}

/// Another handle of the same terminal.
pub(super) fn duplicate(pty: &Pty) -> io::Result<File> {
    Ok(File::from(pty.as_fd().try_clone_to_owned()?))
}

/// Our terminal hands on what is typed key by key, Ctrl-C included: the
/// command's terminal is the one that gives it its meaning. As before when dropped.
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
        // The terminal may be gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
