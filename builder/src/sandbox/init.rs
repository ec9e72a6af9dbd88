//! The process that starts a step's command, supervises it, and ensures that no process outlives it:
//! the init process of the PID namespace, or, without isolation, the subreaper of its descendants.

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
use super::exit_reason::ExitReason;
use super::launcher_protocol::{LaunchRequest, Report};
use super::memory::{descendants, used_by};
use super::setup_error::{PathOperation, SetupError, SetupOperation};
use super::{privileges, seccomp};

/// How often memory use is sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);

/// Starts the command and waits for its end, or ends it. `lifeline` hangs up when Carafe has died or
/// cancels.
pub(super) fn run(request: &LaunchRequest, lifeline: &OwnedFd) -> Result<Report, SetupError> {
    let started = Instant::now();
    if request.argv.is_empty() {
        return Ok(Report::Ended { reason: None, peak_memory: 0, elapsed: started.elapsed() });
    }
    let child = spawn(request)?;
    let mut supervisor =
        Supervisor { child: Pid::from_child(&child), started, limits: request.limits, peak_memory: 0 };
    let reason = supervisor.wait_for_end(lifeline)?;
    kill_descendants();
    Ok(Report::Ended { reason, peak_memory: supervisor.peak_memory, elapsed: started.elapsed() })
}

fn spawn(request: &LaunchRequest) -> Result<Child, SetupError> {
    let LaunchRequest { argv, cwd, env, .. } = request;
    let entered = fs::read_dir(cwd).map(drop);
    entered.map_err(SetupError::on(PathOperation::Enter, cwd))?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(cwd).env_clear().envs(env).stdin(Stdio::null());
    let filter = seccomp::filter();
    // SAFETY: between fork and exec only system calls are made. This process has one thread.
    unsafe { command.pre_exec(move || privileges::drop_all(&filter)) };
    command.spawn().map_err(SetupError::at(SetupOperation::Exec { program: argv[0].clone() }))
}

struct Supervisor {
    child: Pid,
    started: Instant,
    limits: Limits,
    /// In bytes.
    peak_memory: u64,
}

impl Supervisor {
    fn wait_for_end(&mut self, lifeline: &OwnedFd) -> Result<Option<ExitReason>, SetupError> {
        let pidfd = pidfd_open(self.child, PidfdFlags::empty())
            .map_err(SetupError::on(PathOperation::Open, Path::new("/proc/self")))?;
        loop {
            if let Some(status) = self.reap() {
                return Ok(reason_of(status));
            }
            if let Some(reason) = self.exceeded_limit() {
                return Ok(Some(reason));
            }
            let mut polled =
                [PollFd::new(&pidfd, PollFlags::IN), PollFd::new(lifeline, PollFlags::IN | PollFlags::HUP)];
            let left = self.limits.wall_clock.saturating_sub(self.started.elapsed()).min(SAMPLE_INTERVAL);
            // An interrupted or failed poll only makes the next round start early.
            let _ = poll(&mut polled, Timespec::try_from(left).ok().as_ref());
            if !polled[1].revents().is_empty() {
                return Ok(Some(ExitReason::Cancelled));
            }
        }
    }

    /// Reaps children and inherited orphans. Returns the status of the command if it is among them.
    fn reap(&self) -> Option<WaitStatus> {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.child {
                return Some(status);
            }
        }
        None
    }

    fn exceeded_limit(&mut self) -> Option<ExitReason> {
        if self.started.elapsed() >= self.limits.wall_clock {
            return Some(ExitReason::WallClockLimit(self.limits.wall_clock));
        }
        let seen = used_by(&descendants(getpid()), self.peak_memory);
        self.peak_memory = self.peak_memory.max(seen);
        let limit = self.limits.memory.filter(|limit| seen > *limit)?;
        Some(ExitReason::MemoryLimit { limit, seen })
    }
}

fn reason_of(status: WaitStatus) -> Option<ExitReason> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(ExitReason::Exit(code)),
        (None, Some(signal)) => Some(ExitReason::Signal(signal)),
        (None, None) => Some(ExitReason::Lost),
    }
}

/// Kills until no descendant is left: a process may start another one during a round.
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
