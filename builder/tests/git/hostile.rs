//! Commits that cannot be checked out faithfully, and hostile or broken repositories and servers.

use std::fs;

use carafe_builder::git::{CommitId, EmptySubmodules, GitError, RefKind, Remote};
use gix::objs::{Kind, Write};

use crate::support::{GitServer, Repository, ScriptedServer, TestCache, git, message, task};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 7\n";

/// Fetches with both backends; both must fail and add nothing to the store.
fn fetch_errors(repository: &Repository, commit: &CommitId) -> [GitError; 2] {
    let server = GitServer::new(&repository.served(), None);
    [repository.by_file(), server.remote("app.git")].map(|remote| {
        let cache = TestCache::new();
        let error = cache.store.fetch(&remote, commit, &task()).unwrap_err();
        assert_eq!(cache.entries(), [""; 0]);
        message(&error);
        error
    })
}

/// Writes an object into the bare repository without checks.
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

/// Commits this tree on the branch `bad`.
fn commit(repository: &Repository, tree: &str) -> CommitId {
    let id = git(&repository.bare(), &["commit-tree", "-m", "bad", tree]);
    git(&repository.bare(), &["update-ref", "refs/heads/bad", &id]);
    id.parse().unwrap()
}

#[test]
fn rejects_a_submodule_by_name_unless_its_directory_may_be_empty() {
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
    let cache = TestCache::new();
    let fetch_with = |allowed: EmptySubmodules| {
        cache.store.fetch_with_empty_submodules(&repository.by_file(), &repository.head(), &allowed, &task())
    };
    let fetch = |allowed: &[&str]| {
        fetch_with(EmptySubmodules::Named(allowed.iter().map(|path| (*path).to_owned()).collect()))
    };
    // The second time, the commit is in the store.
    for rejected in [fetch(&[]), fetch(&[]), fetch(&["vendor"])] {
        let text = message(&rejected.unwrap_err());
        assert!(text.contains("`vendor/lib`") && text.contains("https://example.org/lib.git"), "{text}");
        assert!(
            text.contains("without-submodules = [\"vendor/lib\"]") && !text.contains("t0ken22"),
            "{text}"
        );
    }
    let checkout = fetch(&["vendor/lib"]).unwrap();
    assert_eq!(checkout.submodules.len(), 1);
    assert_eq!(fetch_with(EmptySubmodules::All).unwrap(), checkout);
    let published = cache.directory.path().join("published.git");
    cache.store.publish_as(&checkout, &published, "main", RefKind::Branch).unwrap();
    git(cache.directory.path(), &["clone", "--quiet", published.to_str().unwrap(), "clone"]);
    assert!(cache.directory.path().join("clone/vendor/lib").is_dir());
}

#[test]
fn rejects_an_lfs_pointer_by_name() {
    let repository = Repository::new();
    repository.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    repository.write("public/model.bin", POINTER);
    for error in fetch_errors(&repository, &repository.commit("lfs")) {
        assert!(
            matches!(&error, GitError::LfsPointer { path, .. } if path == "public/model.bin"),
            "{error:?}"
        );
    }
}

#[test]
fn accepts_an_lfs_pointer_without_the_attribute_as_a_file() {
    let repository = Repository::new();
    repository.write("tests/pointer.txt", POINTER);
    let commit = repository.commit("a test of some tool");
    TestCache::new().store.fetch(&repository.by_file(), &commit, &task()).unwrap();
}

#[test]
fn rejects_names_that_leave_their_directory() {
    let repository = Repository::new();
    let blob = object(&repository, Kind::Blob, b"x");
    for name in ["..", ".", ".git", ".GIT", "a/b", "a\nb"] {
        let inner = tree(&repository, &[("100644", name, &blob)]);
        let outer = tree(&repository, &[("40000", "app", &inner)]);
        fetch_errors(&repository, &commit(&repository, &outer));
    }
}

#[test]
fn rejects_a_tree_with_exponentially_many_entries() {
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
    for error in fetch_errors(&repository, &commit(&repository, &id)) {
        assert!(matches!(error, GitError::Limit { .. }), "{error:?}");
    }
}

#[test]
fn rejects_a_tree_that_is_too_deep() {
    let repository = Repository::new();
    let mut id = tree(&repository, &[("100644", "x", &object(&repository, Kind::Blob, b"x"))]);
    for _ in 0..205 {
        id = tree(&repository, &[("40000", "d", &id)]);
    }
    for error in fetch_errors(&repository, &commit(&repository, &id)) {
        assert!(matches!(error, GitError::Limit { .. }), "{error:?}");
    }
}

#[test]
fn rejects_the_id_of_another_kind_of_object() {
    let repository = Repository::new();
    let tree: CommitId = repository.git(&["rev-parse", "HEAD^{tree}"]).parse().unwrap();
    fetch_errors(&repository, &tree);
}

#[test]
fn rejects_a_time_before_1970() {
    let repository = Repository::new();
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    let text = format!("tree {tree}\nauthor a <a> -5 +0000\ncommitter a <a> -5 +0000\n\nbad\n");
    let id = object(&repository, Kind::Commit, text.as_bytes());
    git(&repository.bare(), &["update-ref", "refs/heads/bad", &id]);
    fetch_errors(&repository, &id.parse().unwrap());
}

#[test]
fn shows_the_words_of_a_server_that_aborts() {
    let repository = Repository::new();
    let blob = repository.git(&["rev-parse", "HEAD:app/hooks.py"]);
    let (directory, file) = blob.split_at(2);
    fs::remove_file(repository.bare().join("objects").join(directory).join(file)).unwrap();
    for error in fetch_errors(&repository, &repository.head()) {
        let text = message(&error);
        assert!(matches!(error, GitError::Failed { .. }), "{error:?}");
        assert!(text.contains("the server reported: ") && text.contains(&blob), "{text}");
        assert!(text.contains("its operator") && !text.contains("disk"), "{text}");
    }
}

#[test]
fn rejects_a_server_without_git() {
    let server = ScriptedServer::new(|_| {
        let page = "<html>no git here</html>";
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len())
    });
    let remote = Remote::parse(&server.url("app")).unwrap();
    let error = carafe_builder::git::resolve(&remote, "main").unwrap_err();
    assert!(matches!(error, GitError::NotARepository { .. }), "{error:?}");
    message(&error);
}

#[test]
fn a_closed_connection_is_an_error() {
    for response in
        ["", "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n001e# se"]
    {
        let server = ScriptedServer::new(move |_| response.to_owned());
        let remote = Remote::parse(&server.url("app")).unwrap();
        message(&carafe_builder::git::resolve(&remote, "main").unwrap_err());
    }
}
