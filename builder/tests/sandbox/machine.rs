//! A sandbox to try things in. Its build root is empty but for this machine's /usr, bound in.

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

/// A token that the redactor knows.
pub const TOKEN: &str = "glpat-0123456789";

/// Long enough that only what hangs reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is removed however the build left it.
pub struct Directory(pub PathBuf);

impl Directory {
    /// On a file system that takes an overlay's upper layer: not an overlay itself, as `/tmp`
    /// is in many containers.
    pub fn new() -> Self {
        let mirrors = [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()];
        let fits = |place: &PathBuf| {
            let tried = Self::within(place);
            probe(&launcher(), &tried.0).is_ok()
        };
        let place = mirrors.iter().find(|place| fits(place)).unwrap_or(&mirrors[0]);
        Self::within(place)
    }

    pub fn within(place: &Path) -> Self {
        Self(tempfile::Builder::new().prefix("carafe-sandbox-").tempdir_in(place).unwrap().keep())
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

/// What a step came to.
pub struct Ran {
    pub result: Result<Outcome, SandboxError>,
    pub lines: Vec<String>,
    pub log: String,
}

impl Ran {
    /// The lines of a step that must have ended well.
    pub fn well(self) -> Vec<String> {
        if let Err(error) = &self.result {
            panic!("{error:?}\n{}", self.lines.join("\n"));
        }
        self.lines
    }

    /// How a step ended that must not have ended well.
    pub fn badly(self) -> StepError {
        match self.result {
            Err(SandboxError::Step(error)) => *error,
            other => panic!("{other:?}\n{}", self.lines.join("\n")),
        }
    }

    pub fn ending(self) -> ExitReason {
        self.badly().ending
    }
}

pub struct Machine {
    pub cancel: CancelToken,
    pub sandbox: Sandbox,
    pub directory: Directory,
}

impl Machine {
    pub fn new() -> Self {
        Self::made(Isolation::Namespaces, |_| {})
    }

    pub fn in_place() -> Self {
        Self::made(Isolation::None, |_| {})
    }

    pub fn made(isolation: Isolation, change: impl FnOnce(&mut SandboxConfig)) -> Self {
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

    pub fn sh(&self, script: &str) -> Ran {
        self.run(script, |_| {})
    }

    pub fn python(&self, script: &str) -> Ran {
        self.run("", |step| step.argv = ["/usr/bin/python3", "-c", script].map(str::to_owned).into())
    }

    pub fn run(&self, script: &str, change: impl FnOnce(&mut Step)) -> Ran {
        let mut step = Step {
            name: "try".to_owned(),
            argv: ["sh", "-c", script].map(str::to_owned).into(),
            cwd: "/".into(),
            env: BTreeMap::new(),
            network: Network::EgressProxy,
            limits: Limits { wall: PATIENCE, memory: None },
            log: self.directory.0.join("log"),
        };
        change(&mut step);
        let mut lines = Vec::new();
        let result = self.sandbox.run(&step, &mut |line| lines.push(line.to_owned()));
        let log = fs::read_to_string(&step.log).unwrap_or_default();
        Ran { result, lines, log }
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

/// With the links that Debian has had since 12, and one file to change.
fn make_root(root: &Path) {
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("usr")).unwrap();
    fs::write(root.join("etc/issue"), "from the build root\n").unwrap();
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
}

/// Every path beneath, and what it holds.
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
        assert!(start.elapsed() < PATIENCE, "a process with `{marker}` is left");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn wait_until_running(marker: &str) {
    let start = std::time::Instant::now();
    while !is_running(marker) {
        assert!(start.elapsed() < PATIENCE, "no process with `{marker}` came");
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
