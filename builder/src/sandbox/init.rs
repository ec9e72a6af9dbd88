//! The process that starts a step's command, watches over it, and lets nothing outlive it: the
//! first of its PID namespace, or, without isolation, the reaper of its descendants.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, pidfd_open, wait,
};

use super::config::Limits;
use super::error::ExitReason;
use super::launcher_protocol::{Description, Report, Setup, SetupError, Verb};
use super::memory::{descendants, held_by};
use super::{privileges, seccomp};

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(200);

/// Starts the command and waits for its end, or ends it. `lifeline` hangs up when carafe is gone
/// or cancels.
pub(super) fn run(description: &Description, lifeline: &OwnedFd) -> Result<Report, SetupError> {
    let started = Instant::now();
    if description.argv.is_empty() {
        return Ok(Report::Ended { ending: None, peak_memory: 0, elapsed: started.elapsed() });
    }
    let child = spawn(description)?;
    let mut watch = Watch { child: Pid::from_child(&child), started, limits: description.limits, peak: 0 };
    let ending = watch.until_end(lifeline)?;
    kill_descendants();
    Ok(Report::Ended { ending, peak_memory: watch.peak, elapsed: started.elapsed() })
}

fn spawn(description: &Description) -> Result<Child, SetupError> {
    let Description { argv, cwd, env, .. } = description;
    let entered = fs::read_dir(cwd).map(drop);
    entered.map_err(SetupError::on(Verb::Enter, cwd))?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(cwd).env_clear().envs(env).stdin(Stdio::null());
    let filter = seccomp::filter();
    // SAFETY: between fork and exec only system calls are made. There is one thread, too.
    unsafe { command.pre_exec(move || privileges::give_up(&filter)) };
    command.spawn().map_err(SetupError::at(Setup::Exec { program: argv[0].clone() }))
}

struct Watch {
    child: Pid,
    started: Instant,
    limits: Limits,
    /// In bytes.
    peak: u64,
}

impl Watch {
    fn until_end(&mut self, lifeline: &OwnedFd) -> Result<Option<ExitReason>, SetupError> {
        let pidfd = pidfd_open(self.child, PidfdFlags::empty())
            .map_err(SetupError::on(Verb::Open, Path::new("/proc/self")))?;
        loop {
            if let Some(status) = self.reap() {
                return Ok(ending_of(status));
            }
            if let Some(ending) = self.over_limit() {
                return Ok(Some(ending));
            }
            let mut watched =
                [PollFd::new(&pidfd, PollFlags::IN), PollFd::new(lifeline, PollFlags::IN | PollFlags::HUP)];
            let left = self.limits.wall.saturating_sub(self.started.elapsed()).min(SAMPLE);
            // An interrupted or failed wait only means that the next round comes early.
            let _ = poll(&mut watched, Timespec::try_from(left).ok().as_ref());
            if !watched[1].revents().is_empty() {
                return Ok(Some(ExitReason::Cancelled));
            }
        }
    }

    /// Takes the dead, ours and the orphans we inherit, and says how the command ended if it is
    /// among them.
    fn reap(&self) -> Option<WaitStatus> {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.child {
                return Some(status);
            }
        }
        None
    }

    fn over_limit(&mut self) -> Option<ExitReason> {
        if self.started.elapsed() >= self.limits.wall {
            return Some(ExitReason::WallLimit(self.limits.wall));
        }
        let seen = held_by(&descendants(getpid()), self.peak);
        self.peak = self.peak.max(seen);
        let limit = self.limits.memory.filter(|limit| seen > *limit)?;
        Some(ExitReason::MemoryLimit { limit, seen })
    }
}

fn ending_of(status: WaitStatus) -> Option<ExitReason> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(ExitReason::Exit(code)),
        (None, Some(signal)) => Some(ExitReason::Signal(signal)),
        (None, None) => Some(ExitReason::Lost),
    }
}

/// Kills until none is left: a process may have started another while we looked.
fn kill_descendants() {
    loop {
        let found = descendants(getpid());
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(1));
    }
}
