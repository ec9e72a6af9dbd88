//! A commit as one file, carried from one store to another.

use std::process::Command;

use carafe_builder::git::{CommitId, GitError, RefKind};

use crate::support::{MaterialSource, Repository, Server, git, plain_git, task, told};

/// A repository whose head has a parent, a large file and two equal ones; its bytes as a pack.
fn exported(shelf: &MaterialSource, repository: &Repository) -> (CommitId, Vec<u8>) {
    repository.write("big", &"x".repeat(200_000));
    repository.write("same", "#!/bin/sh\n");
    repository.write("empty", "");
    let commit = repository.commit("second");
    let checkout = shelf.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    let mut pack = Vec::new();
    shelf.store.export(&checkout, &mut pack).unwrap();
    (commit, pack)
}

#[test]
fn a_pack_is_the_same_however_the_commit_came() {
    let repository = Repository::new();
    let (commit, pack) = exported(&MaterialSource::new(), &repository);
    let server = Server::new(&repository.served(), None);
    repository.git(&["gc", "--quiet", "--aggressive"]);
    let http = MaterialSource::new();
    let other = MaterialSource::new();
    let checkouts = [
        (&http, http.store.fetch(&server.remote("app.git"), &commit, &task()).unwrap()),
        (&other, other.store.import(&commit, &pack[..]).unwrap()),
    ];
    for (shelf, checkout) in checkouts {
        let mut again = Vec::new();
        shelf.store.export(&checkout, &mut again).unwrap();
        assert!(again == pack);
    }
}

#[test]
fn git_itself_reads_it() {
    let repository = Repository::new();
    let shelf = MaterialSource::new();
    let (_, pack) = exported(&shelf, &repository);
    let path = shelf.directory.path().join("one.pack");
    std::fs::write(&path, pack).unwrap();
    let checked = Command::new("git").args(["index-pack", "--fsck-objects"]).arg(&path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn what_was_carried_is_cloned_and_its_tree_is_whole() {
    let repository = Repository::new();
    let (commit, pack) = exported(&MaterialSource::new(), &repository);
    let shelf = MaterialSource::new();
    assert_eq!(shelf.store.find(&commit).unwrap(), None);
    let checkout = shelf.store.import(&commit, &pack[..]).unwrap();
    assert_eq!(shelf.store.find(&commit).unwrap().as_ref(), Some(&checkout));
    assert_eq!(checkout.tree.as_str(), repository.git(&["rev-parse", "HEAD^{tree}"]));
    git(&checkout.git_dir, &["fsck", "--strict", "--no-dangling"]);
    let published = shelf.directory.path().join("published.git");
    shelf.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
    let mut clone = plain_git(shelf.directory.path());
    let clone = clone.args(["clone", "--quiet"]).arg(format!("file://{}", published.display())).arg("app");
    assert!(clone.status().unwrap().success());
    let app = shelf.directory.path().join("app");
    assert_eq!(git(&app, &["rev-parse", "HEAD"]), commit.as_str());
    assert!(app.join("link").is_symlink());
    // What is there already is not read again.
    assert_eq!(shelf.store.import(&commit, &b"no pack"[..]).unwrap(), checkout);
}

#[test]
fn a_damaged_pack_leaves_nothing_behind() {
    let repository = Repository::new();
    let first = repository.head();
    let (commit, pack) = exported(&MaterialSource::new(), &repository);
    let shelf = MaterialSource::new();
    let mut flipped = pack.clone();
    flipped[pack.len() / 2] ^= 1;
    let longer = [&pack[..], b"more"].concat();
    for wrong in [&b""[..], b"PACK", &pack[..pack.len() / 2], &pack[..pack.len() - 1], &flipped, &longer] {
        let error = shelf.store.import(&commit, wrong).unwrap_err();
        assert!(matches!(error, GitError::Pack { .. }), "{} bytes: {error:?}", wrong.len());
        assert!(told(&error).contains(commit.as_str()));
    }
    // A sound pack of another commit.
    let error = shelf.store.import(&first, &pack[..]).unwrap_err();
    assert!(matches!(error, GitError::Object { .. }), "{error:?}");
    assert_eq!(shelf.entries(), [""; 0]);
}
