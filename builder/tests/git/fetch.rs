//! One commit comes into the store.

use std::fs;

use carafe_builder::git::{CommitId, GitBackend, GitBinary, GitError, InProcess, Remote};

use crate::support::{MaterialSource, Repository, Server, git, task, told};

fn ways(repository: &Repository, server: &Server) -> [Remote; 3] {
    [repository.by_file(), repository.by_path(), server.remote("app.git")]
}

#[test]
fn a_commit_comes_alone_and_whole() {
    let repository = Repository::new();
    let first = repository.head();
    repository.write("later", "x");
    let second = repository.commit("second");
    let server = Server::new(&repository.served(), None);
    for remote in ways(&repository, &server) {
        let shelf = MaterialSource::new();
        for commit in [&second, &first] {
            let checkout = shelf.store.fetch(&remote, commit, &task()).unwrap();
            let tree = repository.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
            assert_eq!((checkout.tree.as_str(), checkout.time), (tree.as_str(), 1_700_000_000));
            let count = git(&checkout.git_dir, &["rev-list", "--all", "HEAD", "--count"]);
            assert_eq!(count, "1", "{remote}");
            git(&checkout.git_dir, &["fsck", "--strict", "--no-dangling"]);
        }
        assert_eq!(shelf.entries().len(), 2);
    }
}

#[test]
fn files_and_directories_are_read_without_a_checkout() {
    let repository = Repository::new();
    let shelf = MaterialSource::new();
    let store = &shelf.store;
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
fn what_is_in_the_store_needs_no_server() {
    let repository = Repository::new();
    let commit = repository.head();
    let shelf = MaterialSource::new();
    let first = shelf.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let elsewhere = Remote::parse("file:///nowhere").unwrap();
    let second = shelf.store.fetch(&elsewhere, &commit, &task()).unwrap();
    assert_eq!(first, second);
}

#[test]
fn a_commit_that_no_branch_has_any_more_is_taken_where_the_server_gives_it() {
    let repository = Repository::new();
    let lost = repository.commit("lost");
    repository.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    repository.commit("instead");
    let server = Server::new(&repository.served(), None);
    for remote in ways(&repository, &server) {
        MaterialSource::new().store.fetch(&remote, &lost, &task()).unwrap();
    }
}

#[test]
fn an_unknown_commit_is_an_error_and_leaves_nothing() {
    let repository = Repository::new();
    let unknown: CommitId = "1234567890123456789012345678901234567890".parse().unwrap();
    let server = Server::new(&repository.served(), None);
    for remote in ways(&repository, &server) {
        let shelf = MaterialSource::new();
        let error = shelf.store.fetch(&remote, &unknown, &task()).unwrap_err();
        assert!(matches!(error, GitError::UnknownCommit { .. }), "{remote}: {error:?}");
        assert!(told(&error).contains("carafe lock"));
        assert_eq!(shelf.entries(), [""; 0]);
    }
}

#[test]
fn both_backends_bring_the_same() {
    let repository = Repository::new();
    let commit = repository.head();
    let server = Server::new(&repository.served(), None);
    let remote = server.remote("app.git");
    let trees = [&InProcess as &dyn GitBackend, &GitBinary].map(|backend| {
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
