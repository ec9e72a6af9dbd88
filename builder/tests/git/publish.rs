//! The store's commits, served to a stock git.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use carafe_builder::git::RefKind;

use crate::support::{MaterialSource, Repository, git, plain_git, task};

/// What bench does: look the name up, then clone it, both redirected by `insteadOf`.
fn clone(published: &Path, name: &str, into: &Path) -> String {
    let url = "https://github.com/org/app";
    let config = format!("url.file://{}.insteadOf={url}", published.display());
    let listing = git(into, &["-c", &config, "ls-remote", "--heads", "--tags", url, name]);
    assert_eq!(listing.lines().count(), 1, "{listing}");
    let options = ["--quiet", "--depth=1", "--origin=upstream", "--branch", name];
    let mut clone = plain_git(into);
    clone.args(["-c", &config, "clone", url]).args(options).arg("app");
    let output = clone.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let app = into.join("app");
    assert_eq!(git(&app, &["status", "--porcelain"]), "");
    assert_eq!(git(&app, &["config", "remote.upstream.url"]), url);
    git(&app, &["rev-parse", "HEAD"])
}

#[test]
fn a_pinned_commit_is_cloned_by_branch_and_by_tag() {
    let repository = Repository::new();
    let first = repository.head();
    repository.commit("second");
    let shelf = MaterialSource::new();
    // With parents that are cut off, and without any.
    for commit in [first, repository.head()] {
        let checkout = shelf.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
        for (kind, name) in
            [(RefKind::Branch, "version-15"), (RefKind::Tag, "v15.55.1"), (RefKind::Branch, "a/b")]
        {
            let directory = tempfile::tempdir().unwrap();
            let published = directory.path().join("published.git");
            shelf.store.publish_as(&checkout, &published, name, kind).unwrap();
            assert_eq!(clone(&published, name, directory.path()), commit.as_str());
            assert!(directory.path().join("app/link").is_symlink());
        }
    }
}

#[test]
fn a_local_directory_and_a_subdirectory_are_cloned_too() {
    let repository = Repository::new();
    repository.write("apps/one/setup.py", "x");
    let commit = repository.commit("monorepo");
    let shelf = MaterialSource::new();
    let whole = shelf.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let part = shelf.store.subdirectory(&whole, "apps/one").unwrap().unwrap();
    let local = shelf.store.local(&repository.work(), None, &task()).unwrap();
    for checkout in [part, local] {
        let directory = tempfile::tempdir().unwrap();
        let published = directory.path().join("published.git");
        shelf.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
        assert_eq!(clone(&published, "main", directory.path()), checkout.commit.as_str());
    }
}

#[test]
fn objects_are_shared_with_the_store_and_cloning_changes_nothing() {
    let repository = Repository::new();
    let shelf = MaterialSource::new();
    let checkout = shelf.store.fetch(&repository.by_file(), &repository.head(), &task()).unwrap();
    let published = shelf.directory.path().join("published.git");
    shelf.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
    let files = || {
        let files = walkdir::WalkDir::new(&published).sort_by_file_name().into_iter().map(Result::unwrap);
        files.map(|file| (file.path().to_owned(), file.metadata().unwrap().mtime_nsec())).collect::<Vec<_>>()
    };
    let before = files();
    let objects = before.iter().filter(|(path, _)| path.extension().is_some_and(|name| name == "pack"));
    let links: Vec<u64> = objects.map(|(path, _)| path.metadata().unwrap().nlink()).collect();
    assert_eq!(links, [2]);
    let directory = tempfile::tempdir().unwrap();
    clone(&published, "main", directory.path());
    assert_eq!(files(), before);
}

#[test]
fn a_name_that_leaves_its_directory_is_refused() {
    let repository = Repository::new();
    let shelf = MaterialSource::new();
    let checkout = shelf.store.fetch(&repository.by_file(), &repository.head(), &task()).unwrap();
    for name in ["../../x", "/x", "-x", "x.lock", ""] {
        let directory = tempfile::tempdir().unwrap();
        let published = directory.path().join("published.git");
        assert!(shelf.store.publish_as(&checkout, &published, name, RefKind::Branch).is_err(), "{name}");
    }
}
