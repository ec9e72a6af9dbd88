//! Exit codes, the same for every command.

/// The command did what it was asked to do.
pub const SUCCESS: u8 = 0;
/// The command failed.
pub const FAILED: u8 = 1;
/// The comparison found a difference.
pub const DIFFERENT: u8 = 3;
/// Stopped by Ctrl-C or another signal: 128 and the number of SIGINT, as shells have it.
pub const STOPPED: u8 = 130;
