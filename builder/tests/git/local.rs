//! Directories of this machine, and subdirectories of commits, as apps.

use std::fs;
use std::path::Path;

use carafe_builder::git::GitError;

use crate::support::{MaterialSource, Repository, git, make_executable, task, told, write};

/// 1980-01-01, what undated things get.
const NO_TIME: i64 = 315_532_800;

fn app(directory: &Path) {
    write(&directory.join("pyproject.toml"), "[project]\nname = \"app\"\n");
    write(&directory.join("app/hooks.py"), "app_name = \"app\"\n");
    write(&directory.join("run.sh"), "#!/bin/sh\n");
    make_executable(&directory.join("run.sh"));
    std::os::unix::fs::symlink("run.sh", directory.join("link")).unwrap();
}

#[test]
fn a_plain_directory_has_the_tree_that_git_gives_it() {
    let directory = tempfile::tempdir().unwrap();
    app(directory.path());
    let shelf = MaterialSource::new();
    let checkout = shelf.store.local(directory.path(), None, &task()).unwrap();
    // The same files, through `git add` and `git commit`.
    let tree = Repository::new().git(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!((checkout.tree.as_str(), checkout.time), (tree.as_str(), NO_TIME));
    git(&checkout.git_dir, &["fsck", "--strict"]);
}

#[test]
fn the_same_content_is_the_same_commit() {
    let commits = [(); 2].map(|()| {
        let directory = tempfile::tempdir().unwrap();
        app(directory.path());
        let checkout = MaterialSource::new().store.local(directory.path(), None, &task()).unwrap();
        // A golden value: whoever moves it makes every lock of a local app stale.
        assert_eq!(checkout.commit.as_str(), "7017efbe5549626f3cfb0299b27ee12edefdee87");
        checkout.commit
    });
    assert_eq!(commits[0], commits[1]);
}

#[test]
fn a_clean_work_tree_has_the_time_of_its_newest_commit() {
    let repository = Repository::new();
    repository.write("services/app/file", "x");
    repository.commit("app");
    let shelf = MaterialSource::new();
    let local = |time| shelf.store.local(&repository.work().join("services/app"), time, &task()).unwrap();
    let clean = local(None);
    assert_eq!(clean.time, 1_700_000_000);
    let tree = repository.git(&["rev-parse", "HEAD:services/app"]);
    assert_eq!(clean.tree.as_str(), tree);
    repository.write("elsewhere", "a change outside of the app");
    assert_eq!(local(None), clean);
    repository.write("services/app/file", "y");
    let dirty = local(None);
    assert_eq!(dirty.time, NO_TIME);
    assert_ne!(dirty.tree, clean.tree);
    repository.write("services/app/file", "x");
    assert_eq!(local(Some(clean.time)), clean, "a time from the lock");
}

#[test]
fn ignored_and_deleted_files_are_left_out_and_new_ones_taken() {
    let repository = Repository::new();
    repository.write(".gitignore", "*.pyc\nnode_modules\n");
    repository.commit("ignore");
    repository.write("app/hooks.pyc", "x");
    repository.write("node_modules/a/index.js", "x");
    repository.write("app/new.py", "x");
    fs::remove_file(repository.work().join("pyproject.toml")).unwrap();
    let shelf = MaterialSource::new();
    let checkout = shelf.store.local(&repository.work(), None, &task()).unwrap();
    let files = git(&checkout.git_dir, &["ls-tree", "-r", "--name-only", "HEAD"]);
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        [".gitignore", "app/hooks.py", "app/new.py", "link", "run.sh"]
    );
}

#[test]
fn names_in_gits_order_make_a_sound_tree() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["a/x", "a.b", "a0", "ab/y", "A", "ä", "with blank"] {
        write(&directory.path().join(path), path);
    }
    let shelf = MaterialSource::new();
    let checkout = shelf.store.local(directory.path(), None, &task()).unwrap();
    git(&checkout.git_dir, &["fsck", "--strict"]);
    assert_eq!(shelf.store.read_file(&checkout, "a/x").unwrap().as_deref(), Some(&b"a/x"[..]));
}

#[test]
fn what_cannot_be_an_app_is_refused() {
    let shelf = MaterialSource::new();
    let directory = tempfile::tempdir().unwrap();
    let refuse = |path: &Path| shelf.store.local(path, None, &task()).unwrap_err();
    told(&refuse(directory.path()));
    told(&refuse(&directory.path().join("none")));
    write(&directory.path().join("file"), "x");
    told(&refuse(&directory.path().join("file")));
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let error = refuse(directory.path());
    assert!(told(&error).contains("pipe"), "{error}");
    assert_eq!(shelf.entries(), [""; 0]);
}

#[test]
fn a_repository_inside_of_the_app_is_refused() {
    let repository = Repository::new();
    git(&repository.work(), &["init", "--quiet", "inner"]);
    repository.write("inner/file", "x");
    git(&repository.work().join("inner"), &["add", "file"]);
    git(&repository.work().join("inner"), &["commit", "--quiet", "--message=x"]);
    let error = MaterialSource::new().store.local(&repository.work(), None, &task()).unwrap_err();
    assert!(matches!(error, GitError::Directory { .. }), "{error:?}");
}

#[test]
fn hooks_and_monitors_of_the_work_tree_do_not_run() {
    let repository = Repository::new();
    let mark = repository.work().join("../ran");
    let program = repository.work().join("../program");
    write(&program, &format!("#!/bin/sh\ntouch {}\n", mark.display()));
    make_executable(&program);
    repository.git(&["config", "core.fsmonitor", program.to_str().unwrap()]);
    MaterialSource::new().store.local(&repository.work(), None, &task()).unwrap();
    assert!(!mark.exists());
}

#[test]
fn a_subdirectory_of_a_commit_is_an_app_too() {
    let repository = Repository::new();
    repository.write("apps/one/setup.py", "x");
    let commit = repository.commit("monorepo");
    let shelf = MaterialSource::new();
    let whole = shelf.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let part = shelf.store.subdirectory(&whole, "apps/one").unwrap().unwrap();
    assert_eq!(part.tree.as_str(), repository.git(&["rev-parse", "HEAD:apps/one"]));
    assert_eq!(part.time, whole.time);
    assert_eq!(git(&part.git_dir, &["ls-tree", "-r", "--name-only", "HEAD"]), "setup.py");
    assert_eq!(shelf.store.subdirectory(&whole, "apps/one").unwrap(), Some(part));
    for absent in ["apps/two", "run.sh"] {
        assert_eq!(shelf.store.subdirectory(&whole, absent).unwrap(), None);
    }
}
