//! The launcher: this executable, run once more, as the single-threaded process that a sandbox
//! has to be entered from.
//!
//! Its standard streams are its whole interface. Input: a [`Description`] on one line, then
//! nothing; the end of the input means that carafe is gone or cancels. Output, a socket: the
//! proxy_sockets's sockets if the step has a door, and a [`Report`] on a line each. Error: what the
//! command writes.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, Signal, WaitOptions, set_child_subreaper, set_parent_process_death_signal};
use rustix::process::{getpid, setsid, umask, waitpid};
use rustix::stdio::{dup2_stdin, dup2_stdout};

use super::config::{InjectedFile, Isolation, Network};
use super::launcher_protocol::{Description, Report, Setup, SetupError, Verb};
use super::proxy_sockets::Sockets;
use super::{account, environment, init, loopback, mounts, namespaces};

/// The first argument that makes an executable the launcher.
pub(super) const ARGUMENT: &str = "__sandbox";

/// To be called first in `main`, before any thread is started. If this process was started as the
/// launcher, runs the step and says what to exit with; else returns `None` at once.
pub fn launched() -> Option<ExitCode> {
    if std::env::args_os().nth(1)? != ARGUMENT {
        return None;
    }
    Some(match Launcher::take_over() {
        Ok((launcher, description)) => launcher.launch(&description),
        Err(error) => {
            eprintln!("failed to read what to do in the sandbox: {error}");
            ExitCode::FAILURE
        }
    })
}

struct Launcher {
    /// Hangs up when carafe is gone or cancels.
    lifeline: OwnedFd,
    reports: UnixStream,
}

impl Launcher {
    /// Reads the description and keeps our standard streams out of the command's reach.
    fn take_over() -> io::Result<(Self, Description)> {
        const FIRST_FREE: i32 = 3;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        let description = serde_json::from_str(&line)?;
        let lifeline = fcntl_dupfd_cloexec(io::stdin(), FIRST_FREE)?;
        let reports = fcntl_dupfd_cloexec(io::stdout(), FIRST_FREE)?.into();
        dup2_stdin(fs::File::open("/dev/null")?)?;
        dup2_stdout(io::stderr())?;
        Ok((Self { lifeline, reports }, description))
    }

    fn launch(mut self, description: &Description) -> ExitCode {
        let done = match description.isolation {
            Isolation::Namespaces => return self.isolated(description),
            Isolation::None => self.in_place(description),
        };
        self.report_end(done)
    }

    fn in_place(&mut self, description: &Description) -> Result<Report, SetupError> {
        setsid().and_then(|_| set_child_subreaper(Some(getpid()))).map_err(privileges_error)?;
        umask(UMASK);
        self.report(&Report::Started);
        init::run(description, &self.lifeline)
    }

    fn isolated(mut self, description: &Description) -> ExitCode {
        let entered = setsid()
            .and_then(|_| set_parent_process_death_signal(Some(Signal::KILL)))
            .map_err(privileges_error)
            .and_then(|()| namespaces::enter());
        if let Err(error) = entered {
            return self.report_end(Err(error));
        }
        // SAFETY: this process has one thread, so the child finds no lock held and may go on as
        // it likes.
        match unsafe { libc::fork() } {
            -1 => self.report_end(Err(SetupError::at(Setup::Namespaces)(io::Error::last_os_error()))),
            0 => {
                let done = self.first_process(description);
                self.report_end(done)
            }
            child => {
                // The child alone reports. Its death is that of all in its PID namespace.
                drop(self);
                let child = Pid::from_raw(child);
                while let Err(rustix::io::Errno::INTR) = waitpid(child, WaitOptions::empty()) {}
                ExitCode::SUCCESS
            }
        }
    }

    /// What process 1 of the sandbox does.
    fn first_process(&mut self, description: &Description) -> Result<Report, SetupError> {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(privileges_error)?;
        umask(UMASK);
        loopback::bring_up().map_err(SetupError::at(Setup::Loopback))?;
        if description.network == Network::EgressProxy {
            let proxy_sockets =
                loopback::own_every_address().and_then(|()| Sockets::bind()?.hand_out(&self.reports));
            proxy_sockets.map_err(SetupError::at(Setup::ProxySockets))?;
        }
        mounts::enter(description)?;
        let home = description.env.get("HOME").map_or(environment::HOME, String::as_str);
        account::ensure(home)?;
        description.network_files.iter().try_for_each(inject)?;
        for file in &description.files {
            inject(file)?;
            mounts::seal(&file.path)?;
        }
        self.report(&Report::Started);
        init::run(description, &self.lifeline)
    }

    fn report(&mut self, report: &Report) {
        // Whoever does not listen any more does not need it either.
        let _ = serde_json::to_vec(report).map(|mut line| {
            line.push(b'\n');
            self.reports.write_all(&line)
        });
    }

    fn report_end(mut self, done: Result<Report, SetupError>) -> ExitCode {
        self.report(&done.unwrap_or_else(Report::Failed));
        ExitCode::SUCCESS
    }
}

const UMASK: rustix::fs::Mode = rustix::fs::Mode::from_raw_mode(0o022);

fn privileges_error(error: rustix::io::Errno) -> SetupError {
    SetupError::at(Setup::Privileges)(error)
}

/// Writes a file inside, in place of what is there.
pub(super) fn inject(file: &InjectedFile) -> Result<(), SetupError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let write = || {
        if let Some(directory) = file.path.parent() {
            fs::create_dir_all(directory)?;
        }
        if fs::symlink_metadata(&file.path).is_ok() {
            fs::remove_file(&file.path)?;
        }
        let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path)?;
        new.write_all(&file.content)?;
        new.set_permissions(fs::Permissions::from_mode(file.mode))
    };
    write().map_err(SetupError::on::<io::Error>(Verb::Write, &file.path))
}
