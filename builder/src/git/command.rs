//! The git binary, kept apart from the user's configuration and from the terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};
use tempfile::NamedTempFile;

use super::remote::Transport;
use super::verify::MAX_PACK_BYTES;
use super::{Credential, GitError, Remote};
use crate::secret::Redactor;

/// How much of git's stderr is kept.
const MAX_STDERR_BYTES: usize = 64 << 10;
/// How much of it an error shows.
const MAX_SHOWN_CHARS: usize = 600;
/// Environment variables of git's that reach it: how the user's ssh and CA are found.
const KEPT: [&str; 5] = ["GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"];
/// Never asks, and gives up on a host that does not answer.
const SSH: &str = "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4";

/// A run of the git binary on one remote.
///
/// It reads no system or user configuration, runs no hook, prompts for nothing, speaks the
/// remote's own protocol alone, and gives up on a stalled connection. The credential reaches it
/// through anonymous memory that only this process and its children can open.
pub(super) struct Git {
    command: Command,
    remote: Remote,
    why: String,
    // Both live as long as the command does.
    _config: NamedTempFile,
    _credential: Option<OwnedFd>,
}

/// What a successful or failed run left.
pub(super) struct Finished {
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub success: bool,
}

impl Git {
    /// `why` completes "git is needed for …" in the error when there is no git.
    pub fn new(remote: &Remote, why: &str) -> Result<Self, GitError> {
        let credential = remote.credential().map(credential_file).transpose();
        let credential =
            credential.map_err(GitError::store("hand a credential over in", Path::new("memfd")))?;
        let text = configuration(remote, credential.as_ref());
        let config = config_file(&text)
            .map_err(GitError::store("write git's configuration to", &std::env::temp_dir()))?;
        let mut command = isolated();
        command.env("GIT_CONFIG_GLOBAL", config.path());
        let fd = credential.as_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: setrlimit and fcntl are async-signal-safe, and the descriptor outlives the
        // child's start, since `Git` owns it. Only this child gets it: it is close-on-exec
        // everywhere else.
        unsafe {
            command.pre_exec(move || {
                limit_files()?;
                fd.map_or(Ok(()), keep_open)
            })
        };
        let why = why.to_owned();
        Ok(Self { command, remote: remote.clone(), why, _config: config, _credential: credential })
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// The remote's address, which no option can follow.
    pub fn url(mut self) -> Self {
        self.command.arg("--").arg(self.remote.location());
        self
    }

    pub fn current_dir(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Runs it, reading at most `most_stdout` bytes of output.
    pub fn run(mut self, most_stdout: u64) -> Result<Finished, GitError> {
        let child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.map_err(|source| GitError::NoGit { why: self.why.clone(), source })?;
        let read = collect(child, most_stdout).map_err(GitError::store("run", Path::new("git")))?;
        let (stdout, stderr, success) = read;
        if stdout.len() as u64 > most_stdout {
            let what = format!("what git says of {}", self.remote.url());
            return Err(GitError::Limit { what, limit: most_stdout, unit: "bytes" });
        }
        Ok(Finished { stdout, stderr: self.shown(&stderr), success })
    }

    /// stderr without secrets, progress and control characters, and not too long.
    fn shown(&self, stderr: &[u8]) -> String {
        let redactor = Redactor::new(self.remote.secrets());
        let text = redactor.redact(&String::from_utf8_lossy(stderr));
        let lines = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        let joined = lines.collect::<Vec<_>>().join("; ");
        let plain: Vec<char> = joined.chars().filter(|c| !c.is_control()).collect();
        plain[plain.len().saturating_sub(MAX_SHOWN_CHARS)..].iter().collect()
    }
}

/// git with an environment in which nothing of the user's changes what it does.
pub(super) fn isolated() -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("GIT_") && !KEPT.contains(&text.as_ref()) {
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
    // git knows the variable of its own only.
    if let (None, Some(bundle)) = (std::env::var_os("GIT_SSL_CAINFO"), std::env::var_os("SSL_CERT_FILE")) {
        command.env("GIT_SSL_CAINFO", bundle);
    }
    command
}

/// No server fills the disk: a larger pack ends git.
fn limit_files() -> std::io::Result<()> {
    let limit = Some(MAX_PACK_BYTES);
    Ok(setrlimit(Resource::Fsize, Rlimit { current: limit, maximum: limit })?)
}

fn keep_open(fd: i32) -> std::io::Result<()> {
    // SAFETY: the descriptor is open in the child, which was just forked from its owner.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}

/// The credential in the form in which git takes it from a helper.
fn credential_file(credential: &Credential) -> std::io::Result<OwnedFd> {
    let fd = memfd_create("credential", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    let (username, password) = (credential.username(), credential.password().expose());
    write!(file, "username={username}\npassword={password}\n")?;
    Ok(file.into())
}

fn config_file(text: &str) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix("carafe-git-")?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

fn configuration(remote: &Remote, credential: Option<&OwnedFd>) -> String {
    let mut text = String::from(
        "[core]\n\thooksPath = /dev/null\n\taskPass =\n\tfsmonitor = false\n\
         [transfer]\n\tfsckObjects = true\n\tunpackLimit = 1\n\
         [fetch]\n\tunpackLimit = 1\n\trecurseSubmodules = false\n\
         [submodule]\n\trecurse = false\n\
         [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n\
         [http]\n\tfollowRedirects = initial\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n\
         [credential]\n\thelper =\n\
         [protocol]\n\tversion = 2\n\tallow = never\n",
    );
    let protocols: &[&str] = match remote.transport() {
        Transport::Http { .. } => &["https", "http"],
        Transport::Ssh => &["ssh"],
        Transport::File(_) => &["file"],
    };
    for protocol in protocols {
        text += &format!("[protocol \"{protocol}\"]\n\tallow = always\n");
    }
    match (remote.transport(), credential) {
        // The user named this directory, whoever owns it.
        (Transport::File(path), _) => {
            let path = path.to_string_lossy();
            text += &format!("[safe]\n\tdirectory = {}\n", quoted(&path));
            text += &format!("\tdirectory = {}\n", quoted(&format!("{}/.git", path.trim_end_matches('/'))));
        }
        // For this origin alone, so that no redirect takes the credential elsewhere.
        (Transport::Http { origin }, Some(file)) => {
            let fd = file.as_raw_fd();
            let helper = format!("!f() {{ test \"$1\" = get && cat /proc/self/fd/{fd}; }}; f");
            text += &format!("[credential {}]\n\thelper = {}\n", quoted(origin), quoted(&helper));
        }
        _ => {}
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads both outputs at once, so that neither pipe fills up and stalls the child.
fn collect(mut child: Child, most_stdout: u64) -> std::io::Result<(Vec<u8>, Vec<u8>, bool)> {
    let stderr = child.stderr.take();
    let tail = std::thread::spawn(move || stderr.map(read_tail).transpose());
    let mut stdout = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(most_stdout + 1).read_to_end(&mut stdout)?;
    }
    if stdout.len() as u64 > most_stdout {
        child.kill()?;
    }
    let status = child.wait()?;
    let stderr = tail.join().map_err(|_| std::io::Error::other("the reader of stderr panicked"))??;
    Ok((stdout, stderr.unwrap_or_default(), status.success()))
}

fn read_tail(mut pipe: impl Read) -> std::io::Result<Vec<u8>> {
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
