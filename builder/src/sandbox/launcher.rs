//! The launcher: this executable, started again as the single-threaded process that a sandbox must be
//! entered from.
//!
//! Its standard streams are its interface. Input: a [`LaunchRequest`] on one line, then nothing; the
//! end of the input means that Carafe has died or cancels. Output, a socket: the sockets of the
//! egress proxy if the step has one, and a [`Report`] on each line. Error: the command's output.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Signal, WaitOptions, set_child_subreaper, set_parent_process_death_signal};
use rustix::process::{getpid, setsid, umask, waitpid};
use rustix::stdio::{dup2_stdin, dup2_stdout};

use super::config::{InjectedFile, Network};
use super::inject::inject;
use super::isolation::Isolation;
use super::launcher_protocol::{LaunchRequest, Report};
use super::proxy_sockets::SocketSet;
use super::setup_error::{PathOperation, SetupError, SetupOperation};
use super::{account, environment, init, loopback, mounts, namespaces};

/// The first argument that makes an executable the launcher.
pub(super) const ARGUMENT: &str = "__sandbox";

/// Must be called first in `main`, before any thread is started. If this process was started as the
/// launcher, runs the step and returns the exit code; otherwise returns `None` at once.
pub fn run_as_launcher() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != ARGUMENT {
        return None;
    }
    Some(match Launcher::take_over() {
        Ok((launcher, request)) => launcher.launch(&request),
        Err(error) => {
            eprintln!("failed to read the sandbox's launch request: {error}");
            ExitCode::FAILURE
        }
    })
}

struct Launcher {
    /// Hangs up when Carafe has died or cancels.
    lifeline: OwnedFd,
    reports: UnixStream,
}

impl Launcher {
    /// Reads the request, and moves the launcher's streams to descriptors that the command does not
    /// inherit.
    fn take_over() -> io::Result<(Self, LaunchRequest)> {
        const FIRST_FREE: i32 = 3;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let request = serde_json::from_str(&line)?;
        let lifeline = fcntl_dupfd_cloexec(io::stdin(), FIRST_FREE)?;
        let reports = fcntl_dupfd_cloexec(io::stdout(), FIRST_FREE)?.into();
        dup2_stdin(fs::File::open("/dev/null")?)?;
        dup2_stdout(io::stderr())?;
        Ok((Self { lifeline, reports }, request))
    }

    fn launch(mut self, request: &LaunchRequest) -> ExitCode {
        match request.isolation {
            Isolation::Namespaces => self.run_in_namespaces(request),
            Isolation::None => {
                let result = self.run_in_place(request);
                self.report_result(result)
            }
        }
    }

    fn run_in_place(&mut self, request: &LaunchRequest) -> Result<Report, SetupError> {
        setsid().and_then(|_| set_child_subreaper(Some(getpid()))).map_err(privileges_error)?;
        umask(UMASK);
        self.report(&Report::Started);
        init::run(request, &self.lifeline)
    }

    fn run_in_namespaces(mut self, request: &LaunchRequest) -> ExitCode {
        let entered = setsid()
            .and_then(|_| set_parent_process_death_signal(Some(Signal::KILL)))
            .map_err(privileges_error)
            .and_then(|()| namespaces::enter());
        if let Err(error) = entered {
            return self.report_result(Err(error));
        }
        // SAFETY: this process has one thread, so no lock is held in the child, which may call any
        // function.
        match unsafe { libc::fork() } {
            -1 => {
                let error = io::Error::last_os_error();
                self.report_result(Err(SetupError::at(SetupOperation::Namespaces)(error)))
            }
            0 => {
                let result = self.run_as_init(request);
                self.report_result(result)
            }
            child => {
                // Only the child reports. Its death ends all processes of its PID namespace.
                drop(self);
                let child = Pid::from_raw(child);
                while let Err(rustix::io::Errno::INTR) = waitpid(child, WaitOptions::empty()) {}
                ExitCode::SUCCESS
            }
        }
    }

    /// The sandbox's init process (PID 1).
    fn run_as_init(&mut self, request: &LaunchRequest) -> Result<Report, SetupError> {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(privileges_error)?;
        umask(UMASK);
        loopback::bring_up().map_err(SetupError::at(SetupOperation::Loopback))?;
        if request.network == Network::EgressProxy {
            let sent = loopback::route_all_addresses().and_then(|()| SocketSet::bind()?.send(&self.reports));
            sent.map_err(SetupError::at(SetupOperation::ProxySockets))?;
        }
        mounts::enter(request)?;
        let home = request.env.get("HOME").map_or(environment::HOME, String::as_str);
        account::ensure(home)?;
        request.network_files.iter().try_for_each(write)?;
        for file in &request.files {
            write(file)?;
            mounts::make_read_only(&file.path)?;
        }
        self.report(&Report::Started);
        init::run(request, &self.lifeline)
    }

    fn report(&mut self, report: &Report) {
        // If Carafe has died, the report is not needed.
        let _ = serde_json::to_vec(report).map(|mut line| {
            line.push(b'\n');
            self.reports.write_all(&line)
        });
    }

    fn report_result(mut self, result: Result<Report, SetupError>) -> ExitCode {
        self.report(&result.unwrap_or_else(Report::Failed));
        ExitCode::SUCCESS
    }
}

const UMASK: rustix::fs::Mode = rustix::fs::Mode::from_raw_mode(0o022);

fn privileges_error(error: rustix::io::Errno) -> SetupError {
    SetupError::at(SetupOperation::Privileges)(error)
}

fn write(file: &InjectedFile) -> Result<(), SetupError> {
    inject(file).map_err(SetupError::on(PathOperation::Write, &file.path))
}
