//! A sandbox for tests. Its rootfs is empty except for a bind mount of this machine's /usr.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carafe_builder::cache::remove_tree;
use carafe_builder::sandbox::{
    Bind, CancelToken, ExitReason, InjectedFile, Isolation, Limits, Network, Outcome, Sandbox, SandboxConfig,
    SandboxError, Step, StepError, probe,
};
use carafe_builder::secret::{Redactor, Secret};

/// A token that the redactor replaces.
pub const TOKEN: &str = "glpat-0123456789";

/// Long enough that only a process that hangs exceeds it.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A directory that is removed, whatever permissions the build left.
pub struct Directory(pub PathBuf);

impl Directory {
    /// On a file system that supports an overlay's upper directory: not on an overlay, as `/tmp` is in
    /// many containers.
    pub fn new() -> Self {
        let candidates = [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()];
        let allows_overlay = |parent: &PathBuf| {
            let directory = Self::within(parent);
            probe(&launcher(), &directory.0).is_ok()
        };
        let parent = candidates.iter().find(|parent| allows_overlay(parent)).unwrap_or(&candidates[0]);
        Self::within(parent)
    }

    pub fn within(parent: &Path) -> Self {
        Self(tempfile::Builder::new().prefix("carafe-sandbox-").tempdir_in(parent).unwrap().keep())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove_tree(&self.0).unwrap();
    }
}

pub fn launcher() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// The result of a step, and its output.
pub struct StepResult {
    pub result: Result<Outcome, SandboxError>,
    pub lines: Vec<String>,
    pub log: String,
}

impl StepResult {
    /// The lines of a step that must have succeeded.
    pub fn succeeded(self) -> Vec<String> {
        if let Err(error) = &self.result {
            panic!("{error:?}\n{}", self.lines.join("\n"));
        }
        self.lines
    }

    /// The error of a step that must have failed.
    pub fn failed(self) -> StepError {
        match self.result {
            Err(SandboxError::Step(error)) => *error,
            other => panic!("{other:?}\n{}", self.lines.join("\n")),
        }
    }

    pub fn exit_reason(self) -> ExitReason {
        self.failed().reason
    }
}

pub struct TestSandbox {
    pub cancel: CancelToken,
    pub sandbox: Sandbox,
    pub directory: Directory,
}

impl TestSandbox {
    pub fn new() -> Self {
        Self::with(Isolation::Namespaces, |_| {})
    }

    pub fn without_isolation() -> Self {
        Self::with(Isolation::None, |_| {})
    }

    pub fn with(isolation: Isolation, change: impl FnOnce(&mut SandboxConfig)) -> Self {
        let directory = Directory::new();
        let root = directory.0.join("root");
        let scratch = directory.0.join("scratch");
        make_root(&root);
        fs::create_dir(&scratch).unwrap();
        let cancel = CancelToken::default();
        let mut config = config(isolation, root, scratch, cancel.clone());
        change(&mut config);
        Self { cancel, sandbox: Sandbox::open(config).unwrap(), directory }
    }

    pub fn sh(&self, script: &str) -> StepResult {
        self.run(script, |_| {})
    }

    pub fn python(&self, script: &str) -> StepResult {
        self.run("", |step| step.argv = ["/usr/bin/python3", "-c", script].map(str::to_owned).into())
    }

    pub fn run(&self, script: &str, change: impl FnOnce(&mut Step)) -> StepResult {
        let mut step = Step {
            name: "test".to_owned(),
            argv: ["sh", "-c", script].map(str::to_owned).into(),
            cwd: "/".into(),
            env: BTreeMap::new(),
            network: Network::EgressProxy,
            limits: Limits { wall_clock: TIMEOUT, memory: None },
            log: self.directory.0.join("log"),
        };
        change(&mut step);
        let mut lines = Vec::new();
        let result = self.sandbox.run(&step, &mut |line| lines.push(line.to_owned()));
        let log = fs::read_to_string(&step.log).unwrap_or_default();
        StepResult { result, lines, log }
    }
}

fn config(isolation: Isolation, root: PathBuf, scratch: PathBuf, cancel: CancelToken) -> SandboxConfig {
    let usr = Bind { source: "/usr".into(), target: "/usr".into(), writable: false };
    SandboxConfig {
        isolation,
        root,
        scratch,
        binds: vec![usr],
        files: Vec::<InjectedFile>::new(),
        env: BTreeMap::new(),
        proxy: None,
        redactor: Redactor::new([Secret::new(TOKEN)]),
        launcher: launcher(),
        cancel,
    }
}

/// Creates a rootfs with Debian's links into /usr, and one file to change.
fn make_root(root: &Path) {
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("usr")).unwrap();
    fs::write(root.join("etc/issue"), "from the rootfs\n").unwrap();
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
}

/// Every path below the directory, and its content.
pub fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().map(Result::unwrap);
    entries
        .map(|entry| {
            let is_file = entry.file_type().is_file();
            let content = if is_file { fs::read(entry.path()).unwrap() } else { Vec::new() };
            (entry.into_path(), content)
        })
        .collect()
}

/// Waits until no process of this machine has `marker` in its command line.
pub fn wait_until_gone(marker: &str) {
    let start = std::time::Instant::now();
    while is_running(marker) {
        assert!(start.elapsed() < TIMEOUT, "a process with `{marker}` is still running");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn wait_until_running(marker: &str) {
    let start = std::time::Instant::now();
    while !is_running(marker) {
        assert!(start.elapsed() < TIMEOUT, "no process with `{marker}` was started");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn is_running(marker: &str) -> bool {
    process_with(marker).is_some()
}

/// A process with `marker` in its command line (whose arguments end in NUL).
pub fn process_with(marker: &str) -> Option<u32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        line.windows(marker.len()).any(|part| part == marker.as_bytes()).then_some(pid)
    })
}

/// An argument for `sleep` that no other process of this machine has.
pub fn unique_sleep() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}.{:08}{:04}", 600, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
