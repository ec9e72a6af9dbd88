//! A Python package index, an npm registry and a git host on loopback, each with its own token.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;

use crate::certificates::authority;
use crate::demo::{ProgramDirectory, root, start_server, succeed};

/// The hosts' tokens, by the environment variable that carafe reads them from. No output may contain
/// them.
pub const TOKENS: [(&str, &str); 3] =
    [("INDEX_TOKEN", "idx-90ab77c1"), ("NPM_TOKEN", "npm-41fe02d8"), ("GIT_TOKEN", "git-7c55e6b3")];

/// The hosts of one test. They stop when this is dropped.
pub struct Hosts {
    packages: tempfile::TempDir,
    python: Server,
    npm: Server,
    git: Server,
}

struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(script: &str, directory: &Path, secret: (&str, &str)) -> Self {
        let tls = format!("{0}/server.pem:{0}/server.key", certificates().display());
        let mut server = Command::new(root().join("tests/support").join(script));
        let (child, port) =
            start_server(server.arg(directory).env("SERVER_TLS", tls).env(secret.0, secret.1));
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Hosts {
    /// Starts them, with the first versions of all packages that the test apps need.
    pub fn start() -> Self {
        let [index, npm, git] = TOKENS.map(|(_, token)| token);
        let packages = tempfile::tempdir().unwrap();
        let directory = |name: &str| {
            let directory = packages.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            directory
        };
        let basic = format!("Basic {}", base64(&format!("ci:{index}")));
        let bearer = format!("Bearer {npm}");
        let python = Server::start("package-server", &directory("python"), ("SERVER_AUTHORIZATION", &basic));
        let npm = Server::start("package-server", &directory("npm"), ("SERVER_AUTHORIZATION", &bearer));
        let git = Server::start("git-server", repositories(), ("GIT_SERVER_TOKEN", git));
        let hosts = Self { packages, python, npm, git };
        hosts.publish(&["python:lantern:1.0.0", "npm:wick:1.0.0", "tarball:wax:1.0.0"]);
        // The packages that uv installs into every new environment.
        hosts.publish(&["python:pip:99.0", "python:setuptools:99.0", "python:wheel:99.0"]);
        hosts
    }

    /// Publishes packages: `KIND:NAME:VERSION`, see tests/support/publish-packages.
    pub fn publish(&self, packages: &[&str]) {
        let mut command = Command::new(root().join("tests/support/publish-packages"));
        succeed(command.arg(self.packages.path()).args(packages));
    }

    /// The tables of a spec with mirrors for the public URLs, and the refused host.
    pub fn tables(&self) -> String {
        let at = |server: &Server| format!("https://127.0.0.1:{}", server.port);
        let (python, npm, git) = (at(&self.python), at(&self.npm), at(&self.git));
        let credentials = |server: &Server| format!("[network.credentials.\"127.0.0.1:{}\"]\n", server.port);
        format!(
            "[mirrors]\n\
             \"https://pypi.org/\" = \"{python}/\"\n\
             \"https://files.pythonhosted.org/packages/\" = \"{python}/packages/\"\n\
             \"https://registry.yarnpkg.com/\" = \"{npm}/\"\n\
             \"https://tarballs.carafe.test/\" = \"{npm}/tarballs/\"\n\
             \"https://git.carafe.test/\" = \"{git}/\"\n\
             [network]\nrefused-hosts = [\"optional.carafe.test\"]\n\
             {}username = \"ci\"\npassword = \"${{INDEX_TOKEN}}\"\n\
             {}token = \"${{NPM_TOKEN}}\"\n\
             {}username = \"ci\"\npassword = \"${{GIT_TOKEN}}\"\n",
            credentials(&self.python),
            credentials(&self.npm),
            credentials(&self.git),
        )
    }
}

/// The directory with `ca.pem` and the server certificate.
pub fn certificates() -> &'static Path {
    static DIRECTORY: OnceLock<ProgramDirectory> = OnceLock::new();
    DIRECTORY
        .get_or_init(|| {
            let directory = ProgramDirectory::new();
            authority(directory.path());
            directory
        })
        .path()
}

/// `crew/frappe.git` and `crew/shade.git`, each with one commit and the tag `v1`.
fn repositories() -> &'static Path {
    static DIRECTORY: OnceLock<ProgramDirectory> = OnceLock::new();
    DIRECTORY
        .get_or_init(|| {
            let directory = ProgramDirectory::new();
            for app in ["frappe", "shade"] {
                make_repository(
                    &root().join("tests/network/apps").join(app),
                    &directory.path().join(format!("crew/{app}.git")),
                );
            }
            directory
        })
        .path()
}

fn make_repository(files: &Path, repository: &Path) {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(repository).args(["-c", "core.bare=false", "--work-tree"]).arg(files);
        command.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Test").env(format!("GIT_{role}_EMAIL"), "t@example.com");
            command.env(format!("GIT_{role}_DATE"), "2026-01-05T09:00:00Z");
        }
        succeed(&mut command);
    };
    let init = ["init", "--quiet", "--bare", "--initial-branch=main"];
    succeed(Command::new("git").args(init).arg(repository).env("GIT_CONFIG_GLOBAL", "/dev/null"));
    git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(&["add", "--all", "--force", "."]);
    git(&["commit", "--quiet", "--message", "All files"]);
    git(&["tag", "v1"]);
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = |at: usize| match at <= three.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        [0, 1, 2, 3].map(letter)
    };
    text.as_bytes().chunks(3).flat_map(encode).collect()
}
