//! Exit codes. Each has the same meaning in every command. Codes from 64 on are those
//! of BSD's `sysexits.h`.

/// The task has failed.
pub(crate) const FAILED: u8 = 1;
/// The task was cancelled, or has rejected the command.
pub(crate) const CANCELLED: u8 = 2;
/// The awaited state was not reached in time.
pub(crate) const NOT_IN_TIME: u8 = 3;
/// The task was removed while the command waited for it.
pub(crate) const REMOVED: u8 = 4;
/// The task has ended, and nobody may be left to answer.
pub(crate) const ENDED: u8 = 5;
/// `EX_USAGE`: the command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// `EX_DATAERR`: the input is wrong.
pub(crate) const DATA: u8 = 65;
/// `EX_NOINPUT`: the task, client, question or file does not exist.
pub(crate) const NO_INPUT: u8 = 66;
/// `EX_UNAVAILABLE`: the server does not answer, is too busy or has no room.
pub(crate) const UNAVAILABLE: u8 = 69;
/// `EX_OSERR`: the system refuses threads or memory.
pub(crate) const OS: u8 = 71;
/// `EX_CANTCREAT`: a file cannot be written.
pub(crate) const CANNOT_CREATE: u8 = 73;
/// `EX_IOERR`: the output cannot be written.
pub(crate) const IO: u8 = 74;
/// `EX_PROTOCOL`: the server refused, or breaks the protocol.
pub(crate) const REFUSED: u8 = 76;
/// `EX_NOPERM`: the token is missing or has too few permissions.
pub(crate) const NO_PERMISSION: u8 = 77;
