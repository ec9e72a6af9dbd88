//! Commits of the store as repositories that git clones.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use carafe_builder::git::RefKind;

use crate::support::{Repository, TestCache, git, plain_git, task};

/// The commands of bench: `ls-remote` for the name, then `clone`, both redirected by `insteadOf`.
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
fn git_clones_a_pinned_commit_by_branch_and_by_tag() {
    let repository = Repository::new();
    let first = repository.head();
    repository.commit("second");
    let cache = TestCache::new();
    // Without parents, and with a parent beyond the shallow boundary.
    for commit in [first, repository.head()] {
        let checkout = cache.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
        for (kind, name) in
            [(RefKind::Branch, "version-15"), (RefKind::Tag, "v15.55.1"), (RefKind::Branch, "a/b")]
        {
            let directory = tempfile::tempdir().unwrap();
            let published = directory.path().join("published.git");
            cache.store.publish_as(&checkout, &published, name, kind).unwrap();
            assert_eq!(clone(&published, name, directory.path()), commit.as_str());
            assert!(directory.path().join("app/link").is_symlink());
        }
    }
}

#[test]
fn git_clones_a_local_directory_and_a_subdirectory() {
    let repository = Repository::new();
    repository.write("apps/one/setup.py", "x");
    let commit = repository.commit("monorepo");
    let cache = TestCache::new();
    let complete = cache.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let part = cache.store.subdirectory(&complete, "apps/one").unwrap().unwrap();
    let local = cache.store.local(&repository.work(), None, &task()).unwrap();
    for checkout in [part, local] {
        let directory = tempfile::tempdir().unwrap();
        let published = directory.path().join("published.git");
        cache.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
        assert_eq!(clone(&published, "main", directory.path()), checkout.commit.as_str());
    }
}

#[test]
fn shares_objects_with_the_store_and_is_not_changed_by_a_clone() {
    let repository = Repository::new();
    let cache = TestCache::new();
    let checkout = cache.store.fetch(&repository.by_file(), &repository.head(), &task()).unwrap();
    let published = cache.directory.path().join("published.git");
    cache.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
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
fn rejects_a_name_that_leaves_its_directory() {
    let repository = Repository::new();
    let cache = TestCache::new();
    let checkout = cache.store.fetch(&repository.by_file(), &repository.head(), &task()).unwrap();
    for name in ["../../x", "/x", "-x", "x.lock", ""] {
        let directory = tempfile::tempdir().unwrap();
        let published = directory.path().join("published.git");
        assert!(cache.store.publish_as(&checkout, &published, name, RefKind::Branch).is_err(), "{name}");
    }
}
