//! How a command ended that did not succeed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a command ended that did not succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExitReason {
    /// It exited with this status, which is not zero.
    Exit(i32),
    /// A signal ended it that Carafe did not send.
    Signal(i32),
    /// It ran longer than its wall clock limit.
    WallClockLimit(Duration),
    /// Its processes used more memory than its limit.
    MemoryLimit {
        /// In bytes.
        limit: u64,
        /// In bytes.
        seen: u64,
    },
    /// [`CancelToken::cancel`](super::CancelToken::cancel) was called.
    Cancelled,
    /// Another process killed the sandbox's launcher or init process.
    Lost,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::WallClockLimit(limit) => {
                write!(f, "wall clock limit of {} s exceeded", limit.as_secs_f32())
            }
            Self::MemoryLimit { limit, seen } => {
                write!(f, "memory limit of {} MiB exceeded ({} MiB in use)", limit / MIB, seen / MIB)
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::Lost => f.write_str("another process killed the sandbox"),
        }
    }
}
