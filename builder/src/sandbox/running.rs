//! Running one step from carafe's side: start the launcher, follow the output, read the end.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::config::{Isolation, Network, Outcome, SandboxConfig, Step};
use super::error::{ExitReason, SandboxError, StepError};
use super::launch::ARGUMENT;
use super::launcher_protocol::{Description, Report, SetupError};
use super::output::Lines;
use super::proxy_sockets::{ProxySockets, Sockets};
use super::unavailable;

/// Runs what `description` says; see [`Sandbox::run`](super::Sandbox::run).
pub(super) fn run(
    config: &SandboxConfig,
    step: &Step,
    description: &Description,
    on_line: &mut dyn FnMut(&str),
) -> Result<Outcome, SandboxError> {
    let failed = |ending, tail| {
        let (step, log) = (step.name.clone(), step.log.clone());
        Err(SandboxError::Step(Box::new(StepError { step, ending, tail, log })))
    };
    if config.cancel.is_cancelled() {
        return failed(ExitReason::Cancelled, Vec::new());
    }
    let mut log = open_log(step)?;
    let lines = Lines::new(&config.redactor, on_line, &mut log);
    let launcher_error = |source| SandboxError::Launcher { path: config.launcher.clone(), source };
    let (mut launcher, mut reports) = start(config).map_err(launcher_error)?;
    let lifeline = instruct(&mut launcher, description).map_err(launcher_error)?;
    let lifeline = config.cancel.hold(lifeline);
    let proxy = config.proxy.as_ref().filter(|_| has_door(description));
    let attended = match proxy {
        Some(proxy) => reports.proxy_sockets(&launcher).map_err(launcher_error)?.map(|way| proxy.attend(way)),
        None => None,
    };
    let followed = follow(&mut launcher, lines);
    // If we could not follow it to its end, this ends it.
    drop(lifeline);
    let report = reports.last().map_err(launcher_error)?;
    launcher.wait().map_err(launcher_error)?;
    drop(attended);
    let tail = followed.map_err(SandboxError::io("write", &step.log))?;
    match report {
        Some(Report::Ended { ending: None, peak_memory, elapsed }) => Ok(Outcome { peak_memory, elapsed }),
        Some(Report::Ended { ending: Some(ending), .. }) => failed(ending, tail),
        Some(Report::Failed(error)) => Err(setup_failed(error)),
        Some(Report::Started) => failed(ExitReason::Lost, tail),
        None => {
            let said = tail.last().map_or("it said nothing", String::as_str);
            Err(launcher_error(io::Error::other(format!("no report came from it; {said}"))))
        }
    }
}

fn open_log(step: &Step) -> Result<BufWriter<File>, SandboxError> {
    let file = OpenOptions::new().create(true).append(true).open(&step.log);
    file.map(BufWriter::new).map_err(SandboxError::io("open", &step.log))
}

fn setup_failed(error: SetupError) -> SandboxError {
    let help = unavailable::advice(&error);
    SandboxError::Setup { setup: error.setup, help, source: io::Error::from_raw_os_error(error.errno) }
}

/// Nothing of our environment may be seen inside, so the launcher gets none.
fn start(config: &SandboxConfig) -> io::Result<(Child, Reports)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&config.launcher);
    command.arg(ARGUMENT).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
    Ok((command.spawn()?, Reports { socket: ours, said: Vec::new() }))
}

/// Whether the launcher makes a proxy_sockets.
fn has_door(description: &Description) -> bool {
    description.isolation == Isolation::Namespaces && description.network == Network::EgressProxy
}

/// What the launcher says besides the step's output.
struct Reports {
    socket: UnixStream,
    said: Vec<u8>,
}

impl Reports {
    /// The step's proxy_sockets: what the launcher says first, unless it fails before.
    fn proxy_sockets(&mut self, launcher: &Child) -> io::Result<Option<ProxySockets>> {
        let sockets = Sockets::receive(&self.socket, &mut self.said)?;
        Ok(sockets.map(|sockets| sockets.into_doorway(Pid::from_child(launcher))))
    }

    /// Waits for the launcher to be done and returns what it said last.
    fn last(mut self) -> io::Result<Option<Report>> {
        self.socket.read_to_end(&mut self.said)?;
        let lines = self.said.split(|byte| *byte == b'\n');
        Ok(lines.rev().find_map(|line| serde_json::from_slice(line).ok()))
    }
}

/// Sends the description. What comes back must stay open: its end is the order to end.
fn instruct(launcher: &mut Child, description: &Description) -> io::Result<ChildStdin> {
    let mut line = serde_json::to_vec(description)?;
    line.push(b'\n');
    let mut stdin = launcher.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    match stdin.write_all(&line) {
        // It has died already, and why is in its output.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(stdin),
        other => other.map(|()| stdin),
    }
}

/// Reads the output until no process has it open any more, or the launcher is gone: without
/// isolation the output can have been handed to a process that is none of ours. Fails only when
/// the log cannot be written.
fn follow(launcher: &mut Child, mut lines: Lines<'_>) -> io::Result<Vec<String>> {
    let Some(mut output) = launcher.stderr.take() else { return lines.finish() };
    let pidfd = pidfd_open(Pid::from_child(launcher), PidfdFlags::empty())?;
    let mut buffer = [0; 16 << 10];
    loop {
        let mut ready = [PollFd::new(&output, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if ready[0].revents().is_empty() {
            return lines.finish();
        }
        match output.read(&mut buffer)? {
            0 => return lines.finish(),
            read => lines.push(&buffer[..read])?,
        }
    }
}
