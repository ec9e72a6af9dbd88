//! The git binary as a child process, isolated from the user's configuration and terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::NamedTempFile;

use super::command_config::configuration;
use super::error::GitError;
use super::foreign_text::printable;
use super::limits::MAX_PACK_BYTES;
use super::remote::Remote;
use crate::secret::{Redactor, Secret};

/// Bytes of git's stderr that are kept.
const MAX_STDERR_BYTES: usize = 64 << 10;
/// What git writes before each line that a server sent.
const SERVER_LINE: &str = "remote: ";
/// git's environment variables that the child process inherits: they configure the user's ssh and
/// certificates.
const INHERITED_VARIABLES: [&str; 5] =
    ["GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"];
/// ssh without prompts, with a limit on the time in which a host must respond.
const SSH: &str = "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4";

/// A run of the git binary on one remote.
///
/// git reads no system or user configuration, runs no hooks, never prompts, uses only the protocol
/// of the remote, and ends stalled connections. The credential is passed in anonymous memory that
/// only this process and its children can open.
pub(super) struct GitCommand {
    command: Command,
    remote: Remote,
    purpose: String,
    // Both must exist until the command ends.
    _config: NamedTempFile,
    _credential: Option<OwnedFd>,
}

/// The result of a run.
pub(super) struct GitOutput {
    pub stdout: Vec<u8>,
    /// What git and ssh printed themselves, safe to show.
    pub stderr: String,
    /// What the server sent to be printed, safe to show.
    pub server_message: Option<String>,
    pub success: bool,
}

impl GitCommand {
    /// `purpose` completes "git is required to …" in the error when git does not start.
    pub fn new(remote: &Remote, purpose: &str) -> Result<Self, GitError> {
        let credential =
            remote.credential().map(|(user, password)| credential_file(user, password)).transpose();
        let credential = credential.map_err(GitError::io("write a credential to", Path::new("memfd")))?;
        let text = configuration(remote, credential.as_ref());
        let config = config_file(&text)
            .map_err(GitError::io("write git's configuration in", &std::env::temp_dir()))?;
        let mut command = isolated_git();
        command.env("GIT_CONFIG_GLOBAL", config.path());
        let fd = credential.as_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: setrlimit and fcntl are async-signal-safe, and the descriptor is open until the
        // child has started, since `GitCommand` owns it. Only this child inherits it: it is
        // close-on-exec everywhere else.
        unsafe {
            command.pre_exec(move || {
                limit_file_size()?;
                fd.map_or(Ok(()), keep_open)
            })
        };
        let purpose = purpose.to_owned();
        Ok(Self { command, remote: remote.clone(), purpose, _config: config, _credential: credential })
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds the remote's URL. No options may follow it.
    pub fn url(mut self) -> Self {
        self.command.arg("--").arg(self.remote.location());
        self
    }

    pub fn current_dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Runs git. More than `max_stdout` bytes of output are an error.
    pub fn run(mut self, max_stdout: u64) -> Result<GitOutput, GitError> {
        let child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child =
            child.map_err(|source| GitError::GitNotStarted { purpose: self.purpose.clone(), source })?;
        let (stdout, stderr, success) =
            read_output(child, max_stdout).map_err(GitError::io("read the output of", Path::new("git")))?;
        if stdout.len() as u64 > max_stdout {
            return Err(GitError::too_large(format!("git's output for {}", self.remote), max_stdout));
        }
        let (server, own): (Vec<_>, Vec<_>) = stderr.lines().partition(|line| line.starts_with(SERVER_LINE));
        let server: Vec<_> = server.iter().filter_map(|line| line.strip_prefix(SERVER_LINE)).collect();
        let redactor = Redactor::new(self.remote.secrets());
        let server_message = Some(printable(&server.join("\n"), &redactor)).filter(|text| !text.is_empty());
        Ok(GitOutput { stdout, stderr: printable(&own.join("\n"), &redactor), server_message, success })
    }
}

/// git with an environment in which no setting of the user changes its behavior.
pub(super) fn isolated_git() -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("GIT_") && !INHERITED_VARIABLES.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_PROTOCOL_FROM_USER", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env_remove("SSH_ASKPASS")
        .stdin(Stdio::null());
    if std::env::var_os("GIT_SSH_COMMAND").or_else(|| std::env::var_os("GIT_SSH")).is_none() {
        command.env("GIT_SSH_COMMAND", SSH);
    }
    // git reads its own variable only.
    if let (None, Some(bundle)) = (std::env::var_os("GIT_SSL_CAINFO"), std::env::var_os("SSL_CERT_FILE")) {
        command.env("GIT_SSL_CAINFO", bundle);
    }
    command
}

/// Ends git when a file becomes larger than a pack may be, so that no server can fill the disk.
fn limit_file_size() -> io::Result<()> {
    let limit = Some(MAX_PACK_BYTES);
    Ok(setrlimit(Resource::Fsize, Rlimit { current: limit, maximum: limit })?)
}

fn keep_open(fd: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open in the child, which was just forked from its owner.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(fcntl_setfd(fd, FdFlags::empty())?)
}

/// An anonymous file with the credential in the format of git's credential helpers.
fn credential_file(user: &str, password: &Secret) -> io::Result<OwnedFd> {
    let fd = memfd_create("credential", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    write!(file, "username={user}\npassword={}\n", password.expose())?;
    Ok(file.into())
}

fn config_file(text: &str) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix("carafe-git-")?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Reads stdout and stderr at the same time, so that neither pipe fills and stalls the child.
fn read_output(mut child: Child, max_stdout: u64) -> io::Result<(Vec<u8>, String, bool)> {
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || stderr.map(read_end).transpose());
    let mut stdout = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(max_stdout + 1).read_to_end(&mut stdout)?;
    }
    if stdout.len() as u64 > max_stdout {
        child.kill()?;
    }
    let status = child.wait()?;
    let stderr = reader.join().map_err(|_| io::Error::other("the reader of stderr panicked"))??;
    let stderr = String::from_utf8_lossy(&stderr.unwrap_or_default()).into_owned();
    Ok((stdout, stderr, status.success()))
}

/// The last bytes of the output, at most [`MAX_STDERR_BYTES`].
fn read_end(mut pipe: impl Read) -> io::Result<Vec<u8>> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = pipe.read(&mut buffer)?;
        if count == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > MAX_STDERR_BYTES {
            kept.drain(..kept.len() - MAX_STDERR_BYTES / 2);
        }
    }
}
