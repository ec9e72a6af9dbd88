//! A commit as one file: export from one store, import into another.

use std::process::Command;

use carafe_builder::git::{CommitId, GitError, RefKind};

use crate::support::{GitServer, Repository, TestCache, git, message, plain_git, task};

/// The pack of a commit that has a parent, a large file and two equal ones.
fn exported(cache: &TestCache, repository: &Repository) -> (CommitId, Vec<u8>) {
    repository.write("big", &"x".repeat(200_000));
    repository.write("same", "#!/bin/sh\n");
    repository.write("empty", "");
    let commit = repository.commit("second");
    let checkout = cache.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let mut pack = Vec::new();
    cache.store.export(&checkout, &mut pack).unwrap();
    (commit, pack)
}

#[test]
fn the_pack_does_not_depend_on_how_the_commit_was_fetched() {
    let repository = Repository::new();
    let (commit, pack) = exported(&TestCache::new(), &repository);
    let server = GitServer::new(&repository.served(), None);
    repository.git(&["gc", "--quiet", "--aggressive"]);
    let http = TestCache::new();
    let other = TestCache::new();
    let checkouts = [
        (&http, http.store.fetch(&server.remote("app.git"), &commit, &task()).unwrap()),
        (&other, other.store.import(&commit, &pack[..]).unwrap()),
    ];
    for (cache, checkout) in checkouts {
        let mut again = Vec::new();
        cache.store.export(&checkout, &mut again).unwrap();
        assert!(again == pack);
    }
}

#[test]
fn git_reads_the_pack() {
    let repository = Repository::new();
    let cache = TestCache::new();
    let (_, pack) = exported(&cache, &repository);
    let path = cache.directory.path().join("one.pack");
    std::fs::write(&path, pack).unwrap();
    let checked = Command::new("git").args(["index-pack", "--fsck-objects"]).arg(&path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn an_imported_commit_is_complete_and_can_be_cloned() {
    let repository = Repository::new();
    let (commit, pack) = exported(&TestCache::new(), &repository);
    let cache = TestCache::new();
    assert_eq!(cache.store.find(&commit).unwrap(), None);
    let checkout = cache.store.import(&commit, &pack[..]).unwrap();
    assert_eq!(cache.store.find(&commit).unwrap().as_ref(), Some(&checkout));
    assert_eq!(checkout.tree.as_str(), repository.git(&["rev-parse", "HEAD^{tree}"]));
    git(&checkout.git_dir, &["fsck", "--strict", "--no-dangling"]);
    let published = cache.directory.path().join("published.git");
    cache.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
    let mut clone = plain_git(cache.directory.path());
    let clone = clone.args(["clone", "--quiet"]).arg(format!("file://{}", published.display())).arg("app");
    assert!(clone.status().unwrap().success());
    let app = cache.directory.path().join("app");
    assert_eq!(git(&app, &["rev-parse", "HEAD"]), commit.as_str());
    assert!(app.join("link").is_symlink());
    // The pack of a commit in the store is not read.
    assert_eq!(cache.store.import(&commit, &b"no pack"[..]).unwrap(), checkout);
}

#[test]
fn a_damaged_pack_adds_nothing_to_the_store() {
    let repository = Repository::new();
    let first = repository.head();
    let (commit, pack) = exported(&TestCache::new(), &repository);
    let cache = TestCache::new();
    let mut flipped = pack.clone();
    flipped[pack.len() / 2] ^= 1;
    let longer = [&pack[..], b"more"].concat();
    for wrong in [&b""[..], b"PACK", &pack[..pack.len() / 2], &pack[..pack.len() - 1], &flipped, &longer] {
        let error = cache.store.import(&commit, wrong).unwrap_err();
        assert!(matches!(error, GitError::Pack { .. }), "{} bytes: {error:?}", wrong.len());
        assert!(message(&error).contains(commit.as_str()));
    }
    // A valid pack of another commit.
    let error = cache.store.import(&first, &pack[..]).unwrap_err();
    assert!(matches!(error, GitError::Object { .. }), "{error:?}");
    assert_eq!(cache.entries(), [""; 0]);
}
