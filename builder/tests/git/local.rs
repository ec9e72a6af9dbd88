//! Local directories, and subdirectories of commits, as apps.

use std::fs;
use std::path::Path;

use carafe_builder::git::GitError;

use crate::support::{Repository, TestCache, git, make_executable, message, task, write};

/// 1980-01-01, the time of a directory without a commit.
const DEFAULT_TIME: i64 = 315_532_800;

fn app(directory: &Path) {
    write(&directory.join("pyproject.toml"), "[project]\nname = \"app\"\n");
    write(&directory.join("app/hooks.py"), "app_name = \"app\"\n");
    write(&directory.join("run.sh"), "#!/bin/sh\n");
    make_executable(&directory.join("run.sh"));
    std::os::unix::fs::symlink("run.sh", directory.join("link")).unwrap();
}

#[test]
fn the_tree_of_a_directory_is_that_of_git() {
    let directory = tempfile::tempdir().unwrap();
    app(directory.path());
    let cache = TestCache::new();
    let checkout = cache.store.local(directory.path(), None, &task()).unwrap();
    // The same files, added with `git add` and `git commit`.
    let tree = Repository::new().git(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!((checkout.tree.as_str(), checkout.time), (tree.as_str(), DEFAULT_TIME));
    git(&checkout.git_dir, &["fsck", "--strict"]);
}

#[test]
fn the_same_content_is_the_same_commit() {
    let commits = [(); 2].map(|()| {
        let directory = tempfile::tempdir().unwrap();
        app(directory.path());
        let checkout = TestCache::new().store.local(directory.path(), None, &task()).unwrap();
        // A golden value: a change makes every lock of a local app outdated.
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
    let cache = TestCache::new();
    let local = |time| cache.store.local(&repository.work().join("services/app"), time, &task()).unwrap();
    let clean = local(None);
    assert_eq!(clean.time, 1_700_000_000);
    let tree = repository.git(&["rev-parse", "HEAD:services/app"]);
    assert_eq!(clean.tree.as_str(), tree);
    repository.write("elsewhere", "a change outside of the app");
    assert_eq!(local(None), clean);
    repository.write("services/app/file", "y");
    let dirty = local(None);
    assert_eq!(dirty.time, DEFAULT_TIME);
    assert_ne!(dirty.tree, clean.tree);
    repository.write("services/app/file", "x");
    assert_eq!(local(Some(clean.time)), clean, "a time from the lock");
}

#[test]
fn leaves_out_ignored_and_deleted_files_and_uses_new_ones() {
    let repository = Repository::new();
    repository.write(".gitignore", "*.pyc\nnode_modules\n");
    repository.commit("ignore");
    repository.write("app/hooks.pyc", "x");
    repository.write("node_modules/a/index.js", "x");
    repository.write("app/new.py", "x");
    fs::remove_file(repository.work().join("pyproject.toml")).unwrap();
    let cache = TestCache::new();
    let checkout = cache.store.local(&repository.work(), None, &task()).unwrap();
    let files = git(&checkout.git_dir, &["ls-tree", "-r", "--name-only", "HEAD"]);
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        [".gitignore", "app/hooks.py", "app/new.py", "link", "run.sh"]
    );
}

#[test]
fn sorts_the_entries_of_a_tree_as_git_does() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["a/x", "a.b", "a0", "ab/y", "A", "ä", "with blank"] {
        write(&directory.path().join(path), path);
    }
    let cache = TestCache::new();
    let checkout = cache.store.local(directory.path(), None, &task()).unwrap();
    git(&checkout.git_dir, &["fsck", "--strict"]);
    assert_eq!(cache.store.read_file(&checkout, "a/x").unwrap().as_deref(), Some(&b"a/x"[..]));
}

#[test]
fn rejects_what_cannot_be_an_app() {
    let cache = TestCache::new();
    let directory = tempfile::tempdir().unwrap();
    let reject = |path: &Path| cache.store.local(path, None, &task()).unwrap_err();
    message(&reject(directory.path()));
    message(&reject(&directory.path().join("none")));
    write(&directory.path().join("file"), "x");
    message(&reject(&directory.path().join("file")));
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let error = reject(directory.path());
    assert!(message(&error).contains("pipe"), "{error}");
    assert_eq!(cache.entries(), [""; 0]);
}

#[test]
fn rejects_a_repository_inside_the_app() {
    let repository = Repository::new();
    git(&repository.work(), &["init", "--quiet", "inner"]);
    repository.write("inner/file", "x");
    git(&repository.work().join("inner"), &["add", "file"]);
    git(&repository.work().join("inner"), &["commit", "--quiet", "--message=x"]);
    let error = TestCache::new().store.local(&repository.work(), None, &task()).unwrap_err();
    assert!(matches!(error, GitError::LocalApp { .. }), "{error:?}");
}

#[test]
fn does_not_run_hooks_and_monitors_of_the_work_tree() {
    let repository = Repository::new();
    let marker = repository.work().join("../ran");
    let program = repository.work().join("../program");
    write(&program, &format!("#!/bin/sh\ntouch {}\n", marker.display()));
    make_executable(&program);
    repository.git(&["config", "core.fsmonitor", program.to_str().unwrap()]);
    TestCache::new().store.local(&repository.work(), None, &task()).unwrap();
    assert!(!marker.exists());
}

#[test]
fn a_subdirectory_of_a_commit_can_be_an_app() {
    let repository = Repository::new();
    repository.write("apps/one/setup.py", "x");
    let commit = repository.commit("monorepo");
    let cache = TestCache::new();
    let complete = cache.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let part = cache.store.subdirectory(&complete, "apps/one").unwrap().unwrap();
    assert_eq!(part.tree.as_str(), repository.git(&["rev-parse", "HEAD:apps/one"]));
    assert_eq!(part.time, complete.time);
    // A golden value: a change makes every lock of such an app outdated.
    assert_eq!(git(&part.git_dir, &["log", "-1", "--format=%B"]), format!("Folder apps/one of {commit}"));
    assert_eq!(git(&part.git_dir, &["ls-tree", "-r", "--name-only", "HEAD"]), "setup.py");
    assert_eq!(cache.store.subdirectory(&complete, "apps/one").unwrap(), Some(part));
    for absent in ["apps/two", "run.sh"] {
        assert_eq!(cache.store.subdirectory(&complete, absent).unwrap(), None);
    }
}
