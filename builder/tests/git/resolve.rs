//! Names resolved to commits.

use carafe_builder::git::{GitError, RefKind, Remote, contains, distance, resolve};

use crate::support::{GitServer, Repository, message};

/// The same repository through each transport of these tests.
fn remotes(repository: &Repository, server: &GitServer) -> [Remote; 3] {
    [repository.by_file(), repository.by_path(), server.remote("app.git")]
}

#[test]
fn resolves_branches_and_tags_and_peels_annotated_tags() {
    let repository = Repository::new();
    let first = repository.head();
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "--annotate", "--message=x", "heavy"]);
    repository.git(&["tag", "--annotate", "--message=x", "tag-of-tag", "heavy"]);
    let second = repository.commit("second");
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        for (name, kind, commit) in [
            ("main", RefKind::Branch, &second),
            ("light", RefKind::Tag, &first),
            ("heavy", RefKind::Tag, &first),
            ("tag-of-tag", RefKind::Tag, &first),
        ] {
            let found = resolve(&remote, name).unwrap();
            assert_eq!((found.kind, &found.commit), (kind, commit), "{name} in {remote}");
        }
    }
}

#[test]
fn a_branch_has_precedence_over_a_tag_of_the_same_name() {
    let repository = Repository::new();
    repository.git(&["tag", "--annotate", "--message=x", "both"]);
    repository.git(&["branch", "both"]);
    let second = repository.commit("second");
    repository.git(&["branch", "--force", "both", "HEAD"]);
    repository.push();
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        let found = resolve(&remote, "both").unwrap();
        assert_eq!((found.kind, &found.commit), (RefKind::Branch, &second), "{remote}");
    }
}

#[test]
fn proposes_similar_names_for_an_unknown_one() {
    let repository = Repository::new();
    repository.git(&["branch", "version-15"]);
    repository.push();
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        let error = resolve(&remote, "verison-15").unwrap_err();
        assert!(matches!(error, GitError::UnknownRef { .. }), "{error}");
        assert!(message(&error).contains("`version-15`"), "{}", message(&error));
    }
}

#[test]
fn an_empty_repository_has_no_names() {
    let repository = Repository::empty();
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        let error = resolve(&remote, "main").unwrap_err();
        assert!(matches!(error, GitError::UnknownRef { .. }), "{error}");
    }
}

#[test]
fn distinguishes_a_missing_repository_from_a_missing_server() {
    let directory = tempfile::tempdir().unwrap();
    let server = GitServer::new(directory.path(), None);
    let nothing = format!("file://{}/none.git", directory.path().display());
    for remote in [server.remote("none.git"), Remote::parse(&nothing).unwrap()] {
        let error = resolve(&remote, "main").unwrap_err();
        assert!(matches!(error, GitError::NotARepository { .. }), "{error:?}");
        message(&error);
    }
    // Nothing listens on a port that was just closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let remote = Remote::parse(&format!("http://127.0.0.1:{port}/app")).unwrap();
    let error = resolve(&remote, "main").unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    assert!(message(&error).contains(&port.to_string()));
}

#[test]
fn finds_a_commit_in_the_history_of_a_branch() {
    let repository = Repository::new();
    let first = repository.head();
    repository.git(&["tag", "v1"]);
    repository.commit("second");
    repository.git(&["checkout", "--quiet", "-b", "other", first.as_str()]);
    let other = repository.commit("elsewhere");
    let server = GitServer::new(&repository.served(), None);
    repository.git(&[
        "--git-dir",
        repository.bare().to_str().unwrap(),
        "config",
        "uploadpack.allowFilter",
        "true",
    ]);
    for remote in remotes(&repository, &server) {
        let (main, tag) = (resolve(&remote, "main").unwrap(), resolve(&remote, "v1").unwrap());
        let on = |reference, commit| {
            let scratch = tempfile::tempdir().unwrap();
            contains(&remote, reference, commit, scratch.path()).unwrap()
        };
        assert!(on(&main, &first) && on(&main, &main.commit), "{remote}");
        assert!(!on(&main, &other), "{remote}");
        assert!(on(&tag, &first) && !on(&tag, &main.commit), "{remote}");
    }
}

#[test]
fn reads_the_history_from_a_server_without_object_filters() {
    let repository = Repository::new();
    let first = repository.head();
    repository.commit("second");
    let scratch = tempfile::tempdir().unwrap();
    let main = resolve(&repository.by_file(), "main").unwrap();
    assert!(contains(&repository.by_file(), &main, &first, scratch.path()).unwrap());
}

#[test]
fn counts_the_commits_between_two_commits() {
    let repository = Repository::new();
    let first = repository.head();
    repository.commit("second");
    let main = repository.commit("third");
    repository.git(&["checkout", "--quiet", "-b", "other", first.as_str()]);
    let other = repository.commit("elsewhere");
    repository.push();
    let server = GitServer::new(&repository.served(), None);
    for remote in remotes(&repository, &server) {
        let measure = |from, to| {
            let scratch = tempfile::tempdir().unwrap();
            let distance = distance(&remote, from, to, scratch.path());
            distance.map(|distance| (distance.ahead, distance.behind)).map_err(|error| message(&error))
        };
        assert_eq!(measure(&first, &main), Ok((2, 0)), "{remote}");
        assert_eq!(measure(&main, &other), Ok((1, 2)), "{remote}");
        assert_eq!(measure(&main, &main), Ok((0, 0)), "{remote}");
        let unknown = "c".repeat(40).parse().unwrap();
        assert!(measure(&main, &unknown).is_err(), "{remote}");
    }
}
