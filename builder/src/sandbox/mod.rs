//! The sandbox that bench runs in: namespaces over an overlay of the build image's rootfs, for root
//! and for ordinary users, without a daemon and without subordinate ids.
//!
//! Inside there is one user, 1000:1000, no matter which user runs Carafe. A step sees the rootfs,
//! the bind mounts, a minimal /dev, a new /proc, its own /tmp and /dev/shm, and no other file,
//! process or variable of this machine. It has no capabilities and cannot gain any. Everything that
//! it writes is stored in the scratch directory. Other [isolation kinds](Isolation) provide less.
//!
//! Three processes are between Carafe and a step's command. Carafe starts itself again as the
//! launcher ([`run_as_launcher`]), which has one thread and so may enter namespaces. The launcher's
//! child is the init process, PID 1 of the sandbox, which mounts, starts the command and supervises
//! it. When one of them dies, the kernel kills everything that it started, and the mounts are
//! removed with their namespace.
//!
//! The network is a loopback interface. With [`Network::EgressProxy`] an egress proxy listens on it
//! (the [`ProxyHandle`]), which decides what else a step can reach and detects programs that bypass
//! it.
//!
//! What the sandbox does not prevent: a list of system calls is denied, but most of the kernel's
//! interface is available to an unprivileged process. Building hostile apps as root is a greater
//! risk than building them as an ordinary user.
//!
//! The files, each of which imports only files listed before it: the vocabulary (`scratch`,
//! `isolation`, `exit_reason`, `setup_error`, `error`, `cancel`, `proxy_sockets`, `config`,
//! `launcher_protocol`), what the launcher does (`inject`, `seccomp`, `privileges`, `memory`,
//! `namespaces`, `account`, `loopback`, `environment`, `mounts`, `init`, `launcher`), what Carafe
//! does (`host_files`, `output`, `setup_help`, `run`), and [`Sandbox`] in this file.

mod account;
mod cancel;
mod config;
mod environment;
mod error;
mod exit_reason;
mod host_files;
mod init;
mod inject;
mod isolation;
mod launcher;
mod launcher_protocol;
mod loopback;
mod memory;
mod mounts;
mod namespaces;
mod output;
mod privileges;
mod proxy_sockets;
mod run;
mod scratch;
mod seccomp;
mod setup_error;
mod setup_help;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub use cancel::CancelToken;
pub use config::{Bind, InjectedFile, Limits, Network, Outcome, SandboxConfig, Step};
pub use error::{SandboxError, StepError};
pub use exit_reason::ExitReason;
pub use isolation::Isolation;
pub use launcher::run_as_launcher;
pub use memory::usable_memory;
pub use proxy_sockets::{BYPASS_PORTS, DNS_PORT, PROXY_PORT, ProxyHandle, ProxySockets};
pub use setup_error::{PathOperation, SetupOperation};

use crate::secret::Redactor;
use environment::HostEnvironment;
use host_files::HostFiles;
use launcher_protocol::LaunchRequest;

/// Runs steps one after another; each sees the files that those before it wrote.
pub struct Sandbox {
    config: SandboxConfig,
    host: HostEnvironment,
    _host_files: HostFiles,
}

impl Sandbox {
    /// Prepares the scratch directory. Runs nothing, and does not check what this machine allows
    /// (see [`probe`]). Without [private files](Isolation::has_private_files), creates the bind
    /// mounts and files on this machine.
    pub fn open(mut config: SandboxConfig) -> Result<Self, SandboxError> {
        let targets = config.binds.iter().map(|bind| &bind.target);
        targets
            .chain(config.files.iter().map(|file| &file.path))
            .try_for_each(|path| check_absolute(path))?;
        let host = HostEnvironment::of_this_process();
        let secrets = config.redactor.secrets().iter().cloned().chain(host.secrets());
        config.redactor = Redactor::new(secrets);
        prepare(&config)?;
        let host_files = if config.isolation.has_private_files() {
            HostFiles::default()
        } else {
            HostFiles::create(&config.binds, &config.files)?
        };
        Ok(Self { config, host, _host_files: host_files })
    }

    /// How it is separated from this machine.
    pub fn isolation(&self) -> Isolation {
        self.config.isolation
    }

    /// Runs one step to its end, and passes every line of its output, redacted and without control
    /// characters, to `on_line` and to the step's log. Blocks. Two threads must not call it for one
    /// sandbox at the same time.
    ///
    /// When it returns, no process of the step is left, however it ended. (Without isolation there
    /// is one exception: another process killed the launcher with SIGKILL.)
    pub fn run(&self, step: &Step, on_line: &mut dyn FnMut(&str)) -> Result<Outcome, SandboxError> {
        check_absolute(&step.cwd)?;
        run::run(&self.config, step, &self.launch_request(step), on_line)
    }

    /// The path on this machine of a file that a step created at `inside`. Files that only the
    /// rootfs has do not exist there.
    pub fn host_path(&self, inside: &Path) -> PathBuf {
        let config = &self.config;
        if !config.isolation.has_private_files() {
            return inside.to_owned();
        }
        let bound = config.binds.iter().rev().find_map(|bind| {
            let rest = inside.strip_prefix(&bind.target).ok()?;
            Some(isolation::join(&bind.source, rest))
        });
        bound.unwrap_or_else(|| config.isolation.host_path(&config.scratch, inside))
    }

    fn launch_request(&self, step: &Step) -> LaunchRequest {
        let config = &self.config;
        let without_proxy = config.isolation.has_private_network() && config.proxy.is_none();
        let network = if without_proxy { Network::None } else { step.network };
        let mut env = self.host.base_variables(config.isolation, network, &config.scratch);
        env.extend(config.env.clone());
        env.extend(step.env.clone());
        let (mut binds, mut network_files, mut files) = (Vec::new(), Vec::new(), Vec::new());
        if config.isolation.has_private_files() {
            binds.extend(config.binds.iter().cloned());
            network_files = environment::network_files(network, config.proxy.as_deref());
            files.extend(config.files.iter().cloned());
        }
        LaunchRequest {
            isolation: config.isolation,
            network,
            scratch: config.scratch.clone(),
            binds,
            network_files,
            files,
            env,
            cwd: step.cwd.clone(),
            argv: step.argv.clone(),
            limits: step.limits,
        }
    }
}

/// Checks whether this machine allows a sandbox with namespaces, by setting up an empty one in
/// `scratch` (an empty directory). The error names what blocks it.
pub fn probe(launcher: &Path, scratch: &Path) -> Result<(), SandboxError> {
    let root = scratch.join("root");
    fs::create_dir(&root).map_err(SandboxError::io("create", &root))?;
    let sandbox = Sandbox::open(SandboxConfig {
        isolation: Isolation::Namespaces,
        root,
        scratch: scratch.to_owned(),
        binds: Vec::new(),
        files: Vec::new(),
        env: Default::default(),
        proxy: None,
        redactor: Redactor::default(),
        launcher: launcher.to_owned(),
        cancel: CancelToken::default(),
    })?;
    let step = Step {
        name: "probe".to_owned(),
        argv: Vec::new(),
        cwd: "/".into(),
        env: Default::default(),
        network: Network::None,
        limits: Limits { wall_clock: Duration::from_secs(60), memory: None },
        log: scratch.join("probe.log"),
    };
    sandbox.run(&step, &mut |_| {}).map(drop)
}

/// Creates the directories of an overlay, and a link that gives the rootfs a short name.
fn prepare(config: &SandboxConfig) -> Result<(), SandboxError> {
    const STICKY_WORLD_WRITABLE: u32 = 0o1777;
    for name in [scratch::UPPER, scratch::WORK, scratch::MERGED, scratch::TMP] {
        let path = config.scratch.join(name);
        fs::create_dir(&path).map_err(SandboxError::io("create", &path))?;
    }
    let tmp = config.scratch.join(scratch::TMP);
    fs::set_permissions(&tmp, fs::Permissions::from_mode(STICKY_WORLD_WRITABLE))
        .map_err(SandboxError::io("set the permissions of", &tmp))?;
    let lower = config.scratch.join(scratch::LOWER);
    let root = std::path::absolute(&config.root).map_err(SandboxError::io("resolve", &config.root))?;
    symlink(root, &lower).map_err(SandboxError::io("create", &lower))
}

fn check_absolute(path: &Path) -> Result<(), SandboxError> {
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(is_plain) {
        return Ok(());
    }
    Err(SandboxError::NotAbsolute { path: path.to_owned() })
}
