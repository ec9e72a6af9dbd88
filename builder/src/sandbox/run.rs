//! Running one step from Carafe's side: starts the launcher, forwards the output, reads the result.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::config::{Network, Outcome, SandboxConfig, Step};
use super::error::{SandboxError, StepError};
use super::exit_reason::ExitReason;
use super::launcher::ARGUMENT;
use super::launcher_protocol::{LaunchRequest, Report};
use super::output::Lines;
use super::proxy_sockets::{ProxySockets, SocketSet};
use super::setup_error::SetupError;
use super::setup_help;

/// Runs the step of `request`; see [`Sandbox::run`](super::Sandbox::run).
pub(super) fn run(
    config: &SandboxConfig,
    step: &Step,
    request: &LaunchRequest,
    on_line: &mut dyn FnMut(&str),
) -> Result<Outcome, SandboxError> {
    let failed = |reason, tail| {
        let (step, log) = (step.name.clone(), step.log.clone());
        Err(SandboxError::Step(Box::new(StepError { step, reason, tail, log })))
    };
    if config.cancel.is_cancelled() {
        return failed(ExitReason::Cancelled, Vec::new());
    }
    let mut log = open_log(step)?;
    let lines = Lines::new(&config.redactor, on_line, &mut log);
    let launcher_error = |source| SandboxError::Launcher { path: config.launcher.clone(), source };
    let (mut launcher, mut reports) = start(config).map_err(launcher_error)?;
    let lifeline = send_request(&mut launcher, request).map_err(launcher_error)?;
    let lifeline = config.cancel.hold(lifeline);
    let proxy = config.proxy.as_ref().filter(|_| has_proxy_sockets(request));
    let serving = match proxy {
        Some(proxy) => {
            let sockets = reports.receive_sockets(&launcher).map_err(launcher_error)?;
            sockets.map(|sockets| proxy.serve(sockets))
        }
        None => None,
    };
    let forwarded = forward_output(&mut launcher, lines);
    // If the output could not be read to its end, this ends the launcher.
    drop(lifeline);
    let report = reports.last().map_err(launcher_error)?;
    launcher.wait().map_err(launcher_error)?;
    drop(serving);
    let tail = forwarded.map_err(SandboxError::io("write", &step.log))?;
    match report {
        Some(Report::Ended { reason: None, peak_memory, elapsed }) => Ok(Outcome { peak_memory, elapsed }),
        Some(Report::Ended { reason: Some(reason), .. }) => failed(reason, tail),
        Some(Report::Failed(error)) => Err(setup_failed(error)),
        Some(Report::Started) => failed(ExitReason::Lost, tail),
        None => Err(launcher_error(no_report(&tail))),
    }
}

fn open_log(step: &Step) -> Result<BufWriter<File>, SandboxError> {
    let file = OpenOptions::new().create(true).append(true).open(&step.log);
    file.map(BufWriter::new).map_err(SandboxError::io("open", &step.log))
}

fn setup_failed(error: SetupError) -> SandboxError {
    let help = setup_help::help(&error);
    let source = io::Error::from_raw_os_error(error.errno);
    SandboxError::Setup { operation: error.operation, help, source }
}

fn no_report(tail: &[String]) -> io::Error {
    let output = tail.last().map_or("it has no output", String::as_str);
    io::Error::other(format!("it ended without a report: {output}"))
}

/// Starts the launcher with an empty environment: no variable of Carafe's may be visible in the
/// sandbox.
fn start(config: &SandboxConfig) -> io::Result<(Child, Reports)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&config.launcher);
    command.arg(ARGUMENT).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
    Ok((command.spawn()?, Reports { socket: ours, received: Vec::new() }))
}

/// Whether the launcher sends sockets for the egress proxy.
fn has_proxy_sockets(request: &LaunchRequest) -> bool {
    request.isolation.has_private_network() && request.network == Network::EgressProxy
}

/// The launcher's reports, which are separate from the step's output.
struct Reports {
    socket: UnixStream,
    received: Vec<u8>,
}

impl Reports {
    /// The step's sockets: the first message of the launcher, unless it fails before it sends them.
    fn receive_sockets(&mut self, launcher: &Child) -> io::Result<Option<ProxySockets>> {
        let sockets = SocketSet::receive(&self.socket, &mut self.received)?;
        Ok(sockets.map(|sockets| sockets.into_proxy_sockets(Pid::from_child(launcher))))
    }

    /// Waits until the launcher closes the socket, and returns its last report.
    fn last(mut self) -> io::Result<Option<Report>> {
        self.socket.read_to_end(&mut self.received)?;
        let lines = self.received.split(|byte| *byte == b'\n');
        Ok(lines.rev().find_map(|line| serde_json::from_slice(line).ok()))
    }
}

/// Sends the request. The returned pipe must stay open: the launcher ends the step when it is closed.
fn send_request(launcher: &mut Child, request: &LaunchRequest) -> io::Result<ChildStdin> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut stdin = launcher.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    match stdin.write_all(&line) {
        // It has exited already; its output has the cause.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(stdin),
        other => other.map(|()| stdin),
    }
}

/// Reads the output until no process has it open, or the launcher has exited: without isolation the
/// output may have been passed to a process that is not a descendant. Fails only if the log cannot be
/// written.
fn forward_output(launcher: &mut Child, mut lines: Lines<'_>) -> io::Result<Vec<String>> {
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
