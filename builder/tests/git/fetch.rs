//! Fetching one commit into the store.

use std::fs;

use carafe_builder::git::{CommitId, GitBackend, GitBinary, GitError, GixBackend, Remote};

use crate::support::{GitServer, Repository, TestCache, git, message, task};

fn remotes(repository: &Repository, server: &GitServer) -> [Remote; 3] {
    [repository.by_file(), repository.by_path(), server.remote("app.git")]
}

#[test]
fn fetches_a_complete_commit_without_its_parents() {
    let repository = Repository::new();
    let first = repository.head();
    repository.write("later", "x");
    let second = repository.commit("second");
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        let cache = TestCache::new();
        for commit in [&second, &first] {
            let checkout = cache.store.fetch(&remote, commit, &task()).unwrap();
            let tree = repository.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
            assert_eq!((checkout.tree.as_str(), checkout.time), (tree.as_str(), 1_700_000_000));
            let count = git(&checkout.git_dir, &["rev-list", "--all", "HEAD", "--count"]);
            assert_eq!(count, "1", "{remote}");
            git(&checkout.git_dir, &["fsck", "--strict", "--no-dangling"]);
        }
        assert_eq!(cache.entries().len(), 2);
    }
}

#[test]
fn reads_files_and_directories_without_a_checkout() {
    let repository = Repository::new();
    let cache = TestCache::new();
    let store = &cache.store;
    let checkout = store.fetch(&repository.by_file(), &repository.head(), &task()).unwrap();
    let hooks = store.read_file(&checkout, "app/hooks.py").unwrap();
    assert_eq!(hooks.as_deref(), Some(&b"app_name = \"app\"\n"[..]));
    for absent in ["app", "none", "link", "pyproject.toml/x", "../app/hooks.py", "none/../app"] {
        assert_eq!(store.read_file(&checkout, absent).unwrap(), None, "{absent}");
    }
    let names = |path| {
        let entries = store.list(&checkout, path).unwrap();
        entries.map(|entries| entries.into_iter().map(|entry| (entry.name, entry.is_directory)).collect())
    };
    let top = [("app", true), ("link", false), ("pyproject.toml", false), ("run.sh", false)];
    let top: Vec<_> = top.map(|(name, is_directory)| (name.to_owned(), is_directory)).into();
    assert_eq!(names(""), Some(top));
    assert_eq!(names("app"), Some(vec![("hooks.py".to_owned(), false)]));
    assert_eq!(names("run.sh"), None::<Vec<(String, bool)>>);
}

#[test]
fn does_not_connect_for_a_commit_in_the_store() {
    let repository = Repository::new();
    let commit = repository.head();
    let cache = TestCache::new();
    let first = cache.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let elsewhere = Remote::parse("file:///nowhere").unwrap();
    let second = cache.store.fetch(&elsewhere, &commit, &task()).unwrap();
    assert_eq!(first, second);
}

#[test]
fn fetches_a_commit_that_no_branch_contains_if_the_server_offers_it() {
    let repository = Repository::new();
    let lost = repository.commit("lost");
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    repository.commit("instead");
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        TestCache::new().store.fetch(&remote, &lost, &task()).unwrap();
    }
}

#[test]
fn an_unknown_commit_is_an_error_and_adds_nothing_to_the_store() {
    let repository = Repository::new();
    let unknown: CommitId = "1234567890123456789012345678901234567890".parse().unwrap();
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        let cache = TestCache::new();
        let error = cache.store.fetch(&remote, &unknown, &task()).unwrap_err();
        assert!(matches!(error, GitError::UnknownCommit { .. }), "{remote}: {error:?}");
        assert!(message(&error).contains("carafe lock"));
        assert_eq!(cache.entries(), [""; 0]);
    }
}

#[test]
fn both_backends_fetch_the_same_objects() {
    let repository = Repository::new();
    let commit = repository.head();
    let server = GitServer::new(&repository.served(), None);
    let remote = server.remote("app.git");
    let trees = [&GixBackend as &dyn GitBackend, &GitBinary].map(|backend| {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "--quiet", "--bare", "."]);
        backend.fetch(&remote, &commit, directory.path(), &task()).unwrap();
        let mut refs = backend.list(&remote).unwrap();
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        let shallow = fs::read_to_string(directory.path().join("shallow")).ok();
        (git(directory.path(), &["ls-tree", "-r", commit.as_str()]), refs, shallow)
    });
    assert_eq!(trees[0], trees[1]);
}
