//! A machine of its own for bench: namespaces over an overlay of the build root, as root or as an
//! ordinary user, without a daemon and without subordinate ids.
//!
//! Inside there is one user, 1000:1000, whoever runs carafe outside. A step sees the build root,
//! what is bound into it, a small /dev, a fresh /proc, its own /tmp and /dev/shm, and no file,
//! process or variable of this machine besides. It has no capability and cannot gain one. All that
//! it writes lands in the scratch directory.
//!
//! Three processes stand between carafe and a step's command. carafe starts itself once more as
//! the launcher ([`launched`]), which has one thread and so may enter namespaces; the launcher's
//! child is process 1 inside, which mounts, starts the command and watches over it. When any of
//! them dies, the kernel ends all that it had started, and the mounts go with their namespace.
//!
//! Its network is a loopback of its own. With [`Network::EgressProxy`] someone answers there who decides
//! what else it reaches, and hears of who tries without asking: the [`ProxyHandle`].
//!
//! What it does not keep away: a list of system calls is denied, but most of the kernel's interface
//! is open to an unprivileged process. Who builds hostile apps as root risks more than who builds
//! them as an ordinary user.

mod account;
mod config;
mod environment;
mod error;
mod in_place;
mod init;
mod launch;
mod launcher_protocol;
mod loopback;
mod memory;
mod mounts;
mod namespaces;
mod output;
mod privileges;
mod proxy_sockets;
mod running;
mod seccomp;
mod unavailable;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub use config::{Bind, CancelToken, InjectedFile, Isolation, Limits, Network, Outcome, SandboxConfig, Step};
pub use error::{ExitReason, SandboxError, StepError};
pub use launch::launched;
pub use launcher_protocol::{Setup, Verb};
pub use memory::machine_memory;
pub use proxy_sockets::{DIRECT_PORTS, NAMES_PORT, PROXY_PORT, ProxyHandle, ProxySockets};

use crate::secret::Redactor;
use environment::Host;
use in_place::InPlace;
use launcher_protocol::Description;
use mounts::scratch;

/// Where steps run one after another, each on what those before it left.
pub struct Sandbox {
    config: SandboxConfig,
    host: Host,
    _in_place: InPlace,
}

impl Sandbox {
    /// Prepares the scratch directory; nothing runs yet, and what this machine allows is not tried
    /// yet either (see [`probe`]). Without isolation, puts binds and files on this machine.
    pub fn open(mut config: SandboxConfig) -> Result<Self, SandboxError> {
        let binds = config.binds.iter().map(|bind| &bind.target);
        binds.chain(config.files.iter().map(|file| &file.path)).try_for_each(|path| absolute(path))?;
        let host = Host::of_this_process();
        let secrets = config.redactor.secrets().iter().cloned().chain(host.secrets());
        config.redactor = Redactor::new(secrets);
        prepare(&config)?;
        let in_place = match config.isolation {
            Isolation::Namespaces => InPlace::default(),
            Isolation::None => InPlace::place(&config.binds, &config.files)?,
        };
        Ok(Self { config, host, _in_place: in_place })
    }

    /// Runs one step to its end and hands every line of its output, redacted and without control
    /// characters, to `on_line` and to the step's log. Blocks; must not be called by two threads
    /// of one sandbox at once.
    ///
    /// When this returns, no process of the step is left, however it ended. (Without isolation
    /// one exception: someone killed the launcher itself with SIGKILL.)
    pub fn run(&self, step: &Step, on_line: &mut dyn FnMut(&str)) -> Result<Outcome, SandboxError> {
        absolute(&step.cwd)?;
        running::run(&self.config, step, &self.describe(step), on_line)
    }

    /// Where something that was made inside lies on this machine. What only the build root has is
    /// not there.
    pub fn host_path(&self, inside: &Path) -> PathBuf {
        if self.config.isolation == Isolation::None {
            return inside.to_owned();
        }
        let bound = self.config.binds.iter().rev().find_map(|bind| {
            let rest = inside.strip_prefix(&bind.target).ok()?;
            Some(join(&bind.source, rest))
        });
        let in_scratch = |directory, rest| join(&self.config.scratch.join(directory), rest);
        bound.unwrap_or_else(|| match inside.strip_prefix("/tmp") {
            Ok(rest) => in_scratch(scratch::TMP, rest),
            Err(_) => in_scratch(scratch::UPPER, inside.strip_prefix("/").unwrap_or(inside)),
        })
    }

    fn describe(&self, step: &Step) -> Description {
        let config = &self.config;
        let alone = config.isolation == Isolation::Namespaces && config.proxy.is_none();
        let network = if alone { Network::None } else { step.network };
        let mut env = self.host.base(config.isolation, network, &config.scratch);
        env.extend(config.env.clone());
        env.extend(step.env.clone());
        let (mut binds, mut network_files, mut files) = (Vec::new(), Vec::new(), Vec::new());
        if config.isolation == Isolation::Namespaces {
            binds.extend(config.binds.iter().cloned());
            network_files = environment::network_files(network, config.proxy.as_deref());
            files.extend(config.files.iter().cloned());
        }
        Description {
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

/// RetryState whether this machine allows a sandbox, by setting one up in `scratch` (an empty directory)
/// with nothing in it. The error names what blocks it.
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
        limits: Limits { wall: Duration::from_secs(60), memory: None },
        log: scratch.join("probe.log"),
    };
    sandbox.run(&step, &mut |_| {}).map(drop)
}

/// Makes the directories of an overlay, and a link that gives the build root a short name.
fn prepare(config: &SandboxConfig) -> Result<(), SandboxError> {
    const ANYONE: u32 = 0o1777;
    for name in [scratch::UPPER, scratch::WORK, scratch::MERGED, scratch::TMP] {
        let path = config.scratch.join(name);
        fs::create_dir(&path).map_err(SandboxError::io("create", &path))?;
    }
    let tmp = config.scratch.join(scratch::TMP);
    fs::set_permissions(&tmp, fs::Permissions::from_mode(ANYONE)).map_err(SandboxError::io("open", &tmp))?;
    let lower = config.scratch.join(scratch::LOWER);
    let root = std::path::absolute(&config.root).map_err(SandboxError::io("open", &config.root))?;
    symlink(root, &lower).map_err(SandboxError::io("create", &lower))
}

fn absolute(path: &Path) -> Result<(), SandboxError> {
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(is_plain) {
        return Ok(());
    }
    Err(SandboxError::NotAbsolute { path: path.to_owned() })
}

/// Without the slash that joining an empty path adds: what is bound may be a file.
fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_owned() } else { directory.join(rest) }
}
