//! The example apps, served by a real git server with a token, and `carafe` run on them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use super::registry::RegistryServer;

/// The token that the git server requires. No output may contain it.
pub const TOKEN: &str = "tok-5f2c9e71b0a84d";

/// The package hosts that builds of the example apps use.
const PACKAGE_HOSTS: [&str; 4] =
    ["pypi.org", "files.pythonhosted.org", "registry.npmjs.org", "registry.yarnpkg.com"];

/// The directory of one test, with the spec and the user's config, and the servers that all tests share.
pub struct Demo {
    directory: tempfile::TempDir,
    /// The base URL of the example apps: `http://127.0.0.1:port`.
    pub git: String,
    /// A registry for this test alone.
    pub registry: RegistryServer,
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The directory that `scripts/demo-bases` writes the base images to.
pub fn bases() -> PathBuf {
    let cache =
        std::env::var_os("CARAFE_DEMO_CACHE").map_or_else(|| root().join(".cache/demo"), PathBuf::from);
    assert!(
        cache.join("build-image/index.json").is_file(),
        "failed to find the base images: run `make bases` (`make test` does so first)"
    );
    cache
}

/// A directory for all tests of one program, removed when the program exits for whatever reason.
pub struct ProgramDirectory {
    path: PathBuf,
    /// Exits when its stdin is closed, as the servers do: statics are never dropped.
    _remover: Child,
}

impl ProgramDirectory {
    /// Creates an empty directory.
    pub fn new() -> Self {
        let path = tempfile::tempdir_in(scratch()).unwrap().keep();
        let script = "trap '' INT TERM; cat; chmod -R u+rwX \"$1\"; rm -rf \"$1\"";
        let mut remover = Command::new("sh");
        remover.args(["-c", script, "sh"]).arg(&path).stdin(Stdio::piped());
        let remover = remover.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { path, _remover: remover }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The cache that all builds of one test program share.
pub fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<ProgramDirectory> = OnceLock::new();
    CACHE.get_or_init(ProgramDirectory::new).path()
}

/// A directory on a disk: a build writes gigabytes, and the upper directory of an overlay must not be on
/// an overlay itself.
pub fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Bare repositories of the example apps.
pub fn repositories() -> &'static Path {
    static REPOSITORIES: OnceLock<ProgramDirectory> = OnceLock::new();
    REPOSITORIES
        .get_or_init(|| {
            let directory = ProgramDirectory::new();
            let made =
                Command::new(root().join("scripts/demo-repos")).arg(directory.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            directory
        })
        .path()
}

/// Starts a server from `tests/support`, which prints its port first and exits when its stdin is closed.
pub fn start_server(command: &mut Command) -> (Child, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("port ").expect("the server prints its port").to_owned();
    (child, port)
}

/// Serves `directory` until this process exits.
pub fn serve_git(directory: &Path) -> (Child, String) {
    let mut server = Command::new(root().join("tests/support/git-server"));
    let (child, port) = start_server(server.arg(directory).env("GIT_SERVER_TOKEN", TOKEN));
    (child, format!("http://127.0.0.1:{port}"))
}

fn git_server() -> &'static str {
    static SERVER: OnceLock<(Child, String)> = OnceLock::new();
    &SERVER.get_or_init(|| serve_git(repositories())).1
}

/// The package mirror of one test program, so that all of its builds receive the same responses.
fn package_mirror() -> &'static str {
    static SERVER: OnceLock<(Child, String)> = OnceLock::new();
    let start = || start_server(&mut Command::new(root().join("tests/support/package-mirror")));
    &SERVER.get_or_init(start).1
}

/// The user's config: a `[mirrors]` table that points to the package mirror.
fn mirrors() -> String {
    let mirror =
        |host: &&str| format!("\"https://{host}/\" = \"http://127.0.0.1:{}/{host}/\"\n", package_mirror());
    format!("[mirrors]\n{}", PACKAGE_HOSTS.iter().map(mirror).collect::<String>())
}

impl Demo {
    /// A test with the example spec: three apps, with the token in each URL.
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in(scratch()).unwrap();
        let demo = Self { directory, git: git_server().to_owned(), registry: RegistryServer::start() };
        demo.write("carafe.toml", &demo.spec(&demo.app("greetings", "main")));
        demo.write("config/carafe/config.toml", &mirrors());
        demo
    }

    /// A spec with frappe and the given tables of apps.
    pub fn spec(&self, apps: &str) -> String {
        let (bases, registry) = (bases(), self.registry.address());
        let (frappe, tag) = (self.url("frappe"), self.registry.image("demo/greetings:1"));
        format!(
            "[image]\ntags = [\"{tag}\"]\n\
             build-image = \"oci:{0}/build-image\"\nbase-image = \"oci:{0}/base-image\"\n\
             [frappe]\nurl = \"{frappe}\"\nbranch = \"main\"\n{apps}\
             [build]\ntimeout = \"10m\"\nmemory = \"3GiB\"\n\
             [registry.\"{registry}\"]\ninsecure = true\n",
            bases.display()
        )
    }

    /// The table of an app in a spec.
    pub fn app(&self, name: &str, branch: &str) -> String {
        format!("[[app]]\nurl = \"{}\"\nbranch = \"{branch}\"\n", self.url(name))
    }

    /// The URL of an app, with the token.
    pub fn url(&self, name: &str) -> String {
        self.git.replace("http://", &format!("http://ci:{TOKEN}@")) + &format!("/{name}.git")
    }

    /// The path of a file or directory in the test directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in the test directory.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `carafe` in the test directory, with the shared cache and a minimal environment.
    pub fn carafe(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carafe"));
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        let keep = ["PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        command.envs(std::env::vars().filter(|(name, _)| keep.contains(&name.as_str())));
        command.env("CARAFE_CACHE_DIR", shared_cache()).env("NO_COLOR", "1").stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command
    }

    /// Runs `carafe`, asserts that it succeeds, and returns stdout.
    pub fn run(&self, arguments: &[&str]) -> String {
        succeed(&mut self.carafe(arguments))
    }

    /// Runs `carafe`, asserts that it exits with `code`, and returns stderr.
    pub fn fail(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.carafe(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(!stderr.contains(TOKEN), "{stderr}");
        stderr
    }
}

/// Runs a command, asserts that it succeeds, and returns stdout.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
