//! Repositories with errors, made from the example apps and served in the same way.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;

use crate::demo::{ProgramDirectory, TOKEN, repositories, scratch, serve_git, succeed};

struct Variants {
    directory: ProgramDirectory,
    _server: Child,
    address: String,
}

fn variants() -> &'static Variants {
    static VARIANTS: OnceLock<Variants> = OnceLock::new();
    VARIANTS.get_or_init(|| {
        let directory = ProgramDirectory::new();
        make(directory.path());
        let (server, address) = serve_git(directory.path());
        Variants { directory, _server: server, address }
    })
}

/// The address of their server, `127.0.0.1:port`.
pub fn host() -> &'static str {
    variants().address.strip_prefix("http://").unwrap()
}

/// The table of one of these apps in a spec:
///
/// - `twin`: a copy of greetings, so a second app of that name;
/// - `broken`: greetings with a script that does not parse on `main`, and a commit on `side` that `main` does not
///   have.
pub fn app(name: &str, branch: &str) -> String {
    format!("[[app]]\nurl = \"http://ci:{TOKEN}@{}/{name}.git\"\nbranch = \"{branch}\"\n", host())
}

/// The commit that git resolves `name` to, in the repository in `directory`.
pub fn commit(directory: &Path, name: &str) -> String {
    let mut git = git(directory);
    succeed(git.args(["rev-parse", &format!("{name}^{{commit}}")])).trim().to_owned()
}

/// The commit of the branch `side` of `broken`.
pub fn side_commit() -> String {
    commit(&variants().directory.path().join("broken.git"), "side")
}

fn make(directory: &Path) {
    let greetings = repositories().join("greetings.git");
    for name in ["twin", "broken"] {
        succeed(Command::new("cp").arg("-r").arg(&greetings).arg(directory.join(format!("{name}.git"))));
    }
    let broken = directory.join("broken.git");
    change(&broken, "main", "greetings/public/js/greetings.bundle.js", "import {{{ from nowhere;\n");
    change(&broken, "side", "greetings/said.py", "WORD = 'aside'\n");
}

/// Adds a commit on `branch`, based on the example's commit, with another content of one file.
fn change(repository: &Path, branch: &str, path: &str, text: &str) {
    let work = tempfile::tempdir_in(scratch()).unwrap();
    let mut add = git(repository);
    succeed(add.args(["worktree", "add", "--quiet", "--detach"]).arg(work.path()).arg("v1.0.0"));
    std::fs::write(work.path().join(path), text).unwrap();
    succeed(git(work.path()).args(["add", "--all"]));
    succeed(git(work.path()).args(["commit", "--quiet", "--message", "Change a file"]));
    succeed(git(work.path()).args(["update-ref", &format!("refs/heads/{branch}"), "HEAD"]));
    succeed(git(repository).args(["worktree", "remove", "--force"]).arg(work.path()));
}

/// git in this directory, without settings of the user or the system.
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Tests")
            .env(format!("GIT_{role}_EMAIL"), "tests@example.com");
    }
    command
}
