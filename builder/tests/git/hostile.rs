//! Commits that a checkout would get wrong, or that somebody made to hurt.

use std::fs;

use carafe_builder::git::{CommitId, EmptySubmodules, GitError, RefKind, Remote};
use gix::objs::{Kind, Write};

use crate::support::{MaterialSource, Repository, Scripted, Server, git, task, told};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 7\n";

/// Fetches by both backends and expects both to fail, with nothing in the store.
fn refused(repository: &Repository, commit: &CommitId) -> [GitError; 2] {
    let server = Server::new(&repository.served(), None);
    [repository.by_file(), server.remote("app.git")].map(|remote| {
        let shelf = MaterialSource::new();
        let error = shelf.store.fetch(&remote, commit, &task()).unwrap_err();
        assert_eq!(shelf.entries(), [""; 0]);
        told(&error);
        error
    })
}

/// An object of the bare repository, unchecked.
fn object(repository: &Repository, kind: Kind, content: &[u8]) -> String {
    let bare = gix::open_opts(repository.bare(), gix::open::Options::isolated()).unwrap();
    bare.objects.write_buf(kind, content).unwrap().to_string()
}

fn tree(repository: &Repository, entries: &[(&str, &str, &str)]) -> String {
    let mut content = Vec::new();
    for (mode, name, id) in entries {
        content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        content.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
    }
    object(repository, Kind::Tree, &content)
}

/// A commit of this tree, on the branch `bad`.
fn commit(repository: &Repository, tree: &str) -> CommitId {
    let id = git(&repository.bare(), &["commit-tree", "-m", "bad", tree]);
    git(&repository.bare(), &["update-ref", "refs/heads/bad", &id]);
    id.parse().unwrap()
}

#[test]
fn a_submodule_is_refused_by_name_unless_its_directory_may_be_empty() {
    let repository = Repository::new();
    let head = repository.head();
    repository.write(
        ".gitmodules",
        "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = https://robot:t0ken22@example.org/lib.git\n",
    );
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},vendor/lib")]);
    repository.git(&["add", ".gitmodules"]);
    repository.git(&["commit", "--quiet", "--message=submodule"]);
    repository.push();
    let shelf = MaterialSource::new();
    let take = |may_be_empty: EmptySubmodules| {
        shelf.store.fetch_without(&repository.by_file(), &repository.head(), &may_be_empty, &task())
    };
    let fetch = |may_be_empty: &[&str]| {
        take(EmptySubmodules::Named(may_be_empty.iter().map(|path| (*path).to_owned()).collect()))
    };
    // Refused again when the commit is in the store.
    for refusal in [fetch(&[]), fetch(&[]), fetch(&["vendor"])] {
        let text = told(&refusal.unwrap_err());
        assert!(text.contains("`vendor/lib`") && text.contains("https://example.org/lib.git"), "{text}");
        assert!(
            text.contains("without-submodules = [\"vendor/lib\"]") && !text.contains("t0ken22"),
            "{text}"
        );
    }
    let checkout = fetch(&["vendor/lib"]).unwrap();
    assert_eq!(checkout.submodules.len(), 1);
    assert_eq!(take(EmptySubmodules::All).unwrap(), checkout);
    let published = shelf.directory.path().join("published.git");
    shelf.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
    git(shelf.directory.path(), &["clone", "--quiet", published.to_str().unwrap(), "clone"]);
    assert!(shelf.directory.path().join("clone/vendor/lib").is_dir());
}

#[test]
fn an_lfs_pointer_is_named() {
    let repository = Repository::new();
    repository.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    repository.write("public/model.bin", POINTER);
    for error in refused(&repository, &repository.commit("lfs")) {
        assert!(matches!(&error, GitError::Lfs { path, .. } if path == "public/model.bin"), "{error:?}");
    }
}

#[test]
fn what_looks_like_a_pointer_without_the_attribute_is_a_file() {
    let repository = Repository::new();
    repository.write("tests/pointer.txt", POINTER);
    let commit = repository.commit("a test of some tool");
    MaterialSource::new().store.fetch(&repository.by_file(), &commit, &task()).unwrap();
}

#[test]
fn names_that_leave_their_directory_are_refused() {
    let repository = Repository::new();
    let blob = object(&repository, Kind::Blob, b"x");
    for name in ["..", ".", ".git", ".GIT", "a/b", "a\nb"] {
        let inner = tree(&repository, &[("100644", name, &blob)]);
        let outer = tree(&repository, &[("40000", "app", &inner)]);
        refused(&repository, &commit(&repository, &outer));
    }
}

#[test]
fn a_tree_that_multiplies_is_refused() {
    let repository = Repository::new();
    let names: Vec<String> = (10..60).map(|n| n.to_string()).collect();
    let blob = object(&repository, Kind::Blob, b"x");
    let level = |mode, id: &str| {
        let entries: Vec<_> = names.iter().map(|name| (mode, name.as_str(), id)).collect();
        tree(&repository, &entries)
    };
    let mut id = level("100644", &blob);
    for _ in 0..5 {
        id = level("40000", &id);
    }
    for error in refused(&repository, &commit(&repository, &id)) {
        assert!(matches!(error, GitError::Limit { .. }), "{error:?}");
    }
}

#[test]
fn a_tree_without_a_bottom_is_refused() {
    let repository = Repository::new();
    let mut id = tree(&repository, &[("100644", "x", &object(&repository, Kind::Blob, b"x"))]);
    for _ in 0..205 {
        id = tree(&repository, &[("40000", "d", &id)]);
    }
    for error in refused(&repository, &commit(&repository, &id)) {
        assert!(matches!(error, GitError::Limit { .. }), "{error:?}");
    }
}

#[test]
fn a_commit_that_is_none_is_refused() {
    let repository = Repository::new();
    let tree: CommitId = repository.git(&["rev-parse", "HEAD^{tree}"]).parse().unwrap();
    refused(&repository, &tree);
}

#[test]
fn a_time_before_all_archives_is_refused() {
    let repository = Repository::new();
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    let text = format!("tree {tree}\nauthor a <a> -5 +0000\ncommitter a <a> -5 +0000\n\nbad\n");
    let id = object(&repository, Kind::Commit, text.as_bytes());
    git(&repository.bare(), &["update-ref", "refs/heads/bad", &id]);
    refused(&repository, &id.parse().unwrap());
}

#[test]
fn a_repository_with_a_hole_is_refused() {
    let repository = Repository::new();
    let blob = repository.git(&["rev-parse", "HEAD:app/hooks.py"]);
    let (directory, file) = blob.split_at(2);
    fs::remove_file(repository.bare().join("objects").join(directory).join(file)).unwrap();
    refused(&repository, &repository.head());
}

#[test]
fn a_server_of_something_else_is_refused() {
    let server = Scripted::new(|_| {
        let page = "<html>no git here</html>";
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len())
    });
    let remote = Remote::parse(&server.url("app")).unwrap();
    let error = carafe_builder::git::resolve(&remote, "main").unwrap_err();
    assert!(matches!(error, GitError::NotARepository { .. }), "{error:?}");
    told(&error);
}

#[test]
fn a_server_that_hangs_up_is_an_error() {
    for answer in
        ["", "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n001e# se"]
    {
        let server = Scripted::new(move |_| answer.to_owned());
        let remote = Remote::parse(&server.url("app")).unwrap();
        told(&carafe_builder::git::resolve(&remote, "main").unwrap_err());
    }
}
