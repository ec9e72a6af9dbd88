//! Repositories created with the git binary, and servers for them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use carafe_builder::cache::Cache;
use carafe_builder::git::{CommitId, Remote, Store};
use carafe_builder::progress::{Progress, Stage, Task, Unit};
use tempfile::TempDir;

pub const TOKEN: &str = "s3cr3t+t0ken";
/// The same in percent-encoding, as in a URL.
pub const TOKEN_IN_URL: &str = "s3cr3t%2Bt0ken";

/// A work tree, and the bare repository `app.git` that a server serves.
pub struct Repository {
    directory: TempDir,
}

impl Repository {
    /// With one commit on `main` that has a file, an executable, a link and a directory.
    pub fn new() -> Self {
        let repository = Self::empty();
        repository.write("pyproject.toml", "[project]\nname = \"app\"\n");
        repository.write("app/hooks.py", "app_name = \"app\"\n");
        repository.write("run.sh", "#!/bin/sh\n");
        make_executable(&repository.work().join("run.sh"));
        std::os::unix::fs::symlink("run.sh", repository.work().join("link")).unwrap();
        repository.commit("first");
        repository
    }

    /// Without any commit.
    pub fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "--quiet", "--initial-branch=main", "work"]);
        git(directory.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "served/app.git"]);
        Self { directory }
    }

    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// The directory that contains `app.git`.
    pub fn served(&self) -> PathBuf {
        self.directory.path().join("served")
    }

    pub fn bare(&self) -> PathBuf {
        self.served().join("app.git")
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.work(), args)
    }

    pub fn write(&self, path: &str, content: &str) {
        write(&self.work().join(path), content);
    }

    /// Commits everything, and publishes all branches and tags.
    pub fn commit(&self, message: &str) -> CommitId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.push();
        self.head()
    }

    pub fn push(&self) {
        let bare = self.bare();
        self.git(&["push", "--quiet", "--force", "--mirror", bare.to_str().unwrap()]);
    }

    pub fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    pub fn by_file(&self) -> Remote {
        Remote::parse(&format!("file://{}", self.bare().display())).unwrap()
    }

    pub fn by_path(&self) -> Remote {
        Remote::parse(self.bare().to_str().unwrap()).unwrap()
    }
}

/// Runs git with a fixed identity and time, and without the user's configuration.
pub fn git(directory: &Path, args: &[&str]) -> String {
    let output = plain_git(directory).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn plain_git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    for (key, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.org"),
        ("GIT_COMMITTER_NAME", "c"),
        ("GIT_COMMITTER_EMAIL", "c@example.org"),
        ("GIT_AUTHOR_DATE", "1700000000 +0100"),
        ("GIT_COMMITTER_DATE", "1700000000 +0100"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "file:http"),
    ] {
        command.env(key, value);
    }
    command.current_dir(directory);
    command
}

pub fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// An empty cache with a store.
pub struct TestCache {
    pub directory: TempDir,
    pub store: Store,
}

impl TestCache {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(&Cache::at(directory.path()).unwrap()).unwrap();
        Self { directory, store }
    }

    /// The commits in the store.
    pub fn entries(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path().join("git-v1")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

pub fn task() -> Task {
    Progress::silent().task(Stage::Fetch, "test", None, Unit::Bytes)
}

/// An error as a user reads it: with its causes and its help text.
pub fn message(error: &impl miette::Diagnostic) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!("\n{cause}");
        source = cause.source();
    }
    let help = error.help().map(|help| help.to_string()).unwrap_or_default();
    assert!(!help.is_empty(), "no help text for: {text}");
    format!("{text}\n{help}")
}

/// `git http-backend` on loopback; ends when dropped.
pub struct GitServer {
    child: Child,
    pub port: u16,
}

impl GitServer {
    pub fn new(root: &Path, token: Option<&str>) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/support/git-server");
        let mut command = Command::new(program);
        command.arg(root).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("GIT_SERVER_TOKEN", token);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("port ").unwrap().parse().unwrap();
        Self { child, port }
    }

    pub fn remote(&self, repository: &str) -> Remote {
        Remote::parse(&format!("http://127.0.0.1:{}/{repository}", self.port)).unwrap()
    }

    /// A remote with the token in its URL.
    pub fn private(&self, repository: &str) -> Remote {
        let port = self.port;
        Remote::parse(&format!("http://robot:{TOKEN_IN_URL}@127.0.0.1:{port}/{repository}")).unwrap()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A server that responds with the result of a function of the request head, and records the heads.
pub struct ScriptedServer {
    pub port: u16,
    pub requests: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl ScriptedServer {
    pub fn new(respond: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_head(&mut stream) else { continue };
                let response = respond(&request);
                seen.lock().unwrap().push(request);
                let _ = stream.write_all(response.as_bytes());
            }
        });
        Self { port, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Every file below `directory` whose content contains `needle`.
pub fn files_with(directory: &Path, needle: &str) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(directory).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files.filter(|path| memchr::memmem::find(&fs::read(path).unwrap(), needle.as_bytes()).is_some()).collect()
}

/// The variable that passes the remote to a child: see [`child`].
const CHILD: &str = "CARAFE_TEST_REMOTE";

/// A command that runs one test of this program with other environment variables, which are per
/// process. In the child, [`child_remote`] returns the remote.
pub fn child(test: &str, url: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD, url);
    let proxies = ["NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let ca_variables =
        ["SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE"];
    let configuration = ["XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_SSH"];
    for name in [&proxies[..], &ca_variables, &configuration].concat() {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

/// The remote of a child process; `None` in the parent.
pub fn child_remote() -> Option<Remote> {
    std::env::var(CHILD).ok().map(|url| Remote::parse(&url).unwrap())
}

/// Runs the command, which must succeed.
pub fn succeed(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
