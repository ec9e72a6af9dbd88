//! Credentials: they are sent to the right host, and occur nowhere else.

use std::process::Command;

use carafe_builder::git::{GitBackend, GitBinary, GitError, GixBackend, Remote, contains, resolve};
use carafe_builder::net::Credential;
use carafe_builder::secret::Secret;

use crate::support::{
    GitServer, Repository, ScriptedServer, TOKEN, TOKEN_IN_URL, TestCache, child, child_remote, files_with,
    make_executable, message, succeed, task, write,
};

const BACKENDS: [&dyn GitBackend; 2] = [&GixBackend, &GitBinary];

#[test]
fn fetches_with_a_token_and_writes_it_to_no_file() {
    let repository = Repository::new();
    let first = repository.head();
    let commit = repository.commit("second");
    let server = GitServer::new(&repository.served(), Some(TOKEN));
    let remote = server.private("app.git");
    let cache = TestCache::new();
    let main = resolve(&remote, "main").unwrap();
    assert_eq!(main.commit, commit);
    let history = cache.directory.path().join("history");
    std::fs::create_dir(&history).unwrap();
    assert!(contains(&remote, &main, &first, &history).unwrap());
    cache.store.fetch(&remote, &commit, &task()).unwrap();
    for text in [TOKEN, TOKEN_IN_URL, "robot"] {
        assert_eq!(files_with(cache.directory.path(), text), [""; 0].map(std::path::PathBuf::from));
    }
}

#[test]
fn accepts_a_token_that_is_not_in_the_url() {
    let repository = Repository::new();
    let server = GitServer::new(&repository.served(), Some(TOKEN));
    let credential = Credential::Bearer(Secret::new(TOKEN));
    let remote = server.remote("app.git").with_credential(credential).unwrap();
    for backend in BACKENDS {
        assert_eq!(backend.list(&remote).unwrap().len(), 1);
    }
}

#[test]
fn sends_a_token_that_replaces_the_user_name() {
    let repository = Repository::new();
    let server = GitServer::new(&repository.served(), Some(TOKEN));
    let url = format!("http://{TOKEN_IN_URL}@127.0.0.1:{}/app.git", server.port);
    for backend in BACKENDS {
        assert_eq!(backend.list(&Remote::parse(&url).unwrap()).unwrap().len(), 1);
    }
}

#[test]
fn reports_a_missing_or_wrong_token_without_showing_it() {
    let repository = Repository::new();
    let server = GitServer::new(&repository.served(), Some(TOKEN));
    let wrong = format!("http://robot:wr0ngt0ken@127.0.0.1:{}/app.git", server.port);
    for backend in BACKENDS {
        let error = backend.list(&server.remote("app.git")).unwrap_err();
        assert!(matches!(error, GitError::CredentialMissing { .. }), "{error:?}");
        message(&error);
        let error = backend.list(&Remote::parse(&wrong).unwrap()).unwrap_err();
        assert!(matches!(error, GitError::CredentialRejected { .. }), "{error:?}");
        let text = format!("{} {error:?}", message(&error));
        assert!(!text.contains("wr0ng"), "{text}");
    }
}

#[test]
fn reports_403_as_a_rejected_credential() {
    let server = ScriptedServer::new(|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into());
    let remote = Remote::parse(&server.url("app").replace("//", "//robot:t0ken22@")).unwrap();
    for backend in BACKENDS {
        let error = backend.list(&remote).unwrap_err();
        assert!(matches!(error, GitError::CredentialRejected { .. }), "{error:?}");
        assert!(!message(&error).contains("t0ken22"));
    }
}

#[test]
fn redacts_the_token_in_the_words_of_a_server() {
    let server = ScriptedServer::new(|_| {
        let body = "the t0ken22 is bad";
        format!("HTTP/1.1 500 t0ken22\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let remote = Remote::parse(&server.url("app").replace("//", "//robot:t0ken22@")).unwrap();
    for backend in BACKENDS {
        let error = backend.list(&remote).unwrap_err();
        let text = format!("{} {error:?}", message(&error));
        assert!(!text.contains("t0ken22"), "{text}");
    }
}

#[test]
fn follows_the_redirect_of_a_public_repository() {
    let repository = Repository::new();
    let server = GitServer::new(&repository.served(), None);
    let target = format!("http://127.0.0.1:{}", server.port);
    let moved = ScriptedServer::new(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        format!("HTTP/1.1 301 Moved\r\nLocation: {target}{path}\r\nContent-Length: 0\r\n\r\n")
    });
    let remote = Remote::parse(&moved.url("app.git")).unwrap();
    for backend in BACKENDS {
        assert_eq!(backend.list(&remote).unwrap().len(), 1);
    }
    TestCache::new().store.fetch(&remote, &repository.head(), &task()).unwrap();
}

#[test]
fn sends_no_credential_to_another_host_after_a_redirect() {
    const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
    let other_host = ScriptedServer::new(|_| UNAUTHORIZED.into());
    let target = format!("http://127.0.0.1:{}", other_host.port);
    let moved = ScriptedServer::new(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {target}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    });
    let remote = Remote::parse(&moved.url("app.git").replace("//", "//robot:t0ken22@")).unwrap();
    for backend in BACKENDS {
        let error = backend.list(&remote).unwrap_err();
        assert!(!message(&error).contains("t0ken22"), "{error:?}");
    }
    let requests = other_host.requests.lock().unwrap();
    assert!(!requests.is_empty());
    for request in requests.iter() {
        assert!(!request.to_lowercase().contains("authorization"), "{request}");
    }
}

#[test]
fn runs_the_credential_helper_only_if_the_server_requires_a_credential() {
    const TEST: &str = "credentials::runs_the_credential_helper_only_if_the_server_requires_a_credential";
    if let Some(remote) = child_remote() {
        resolve(&remote, "main").unwrap();
        return;
    }
    let repository = Repository::new();
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let program = format!("echo $1 >> {}; echo username=u; echo password={TOKEN}", log.display());
    let config = format!("[credential]\n\thelper = \"!f() {{ {program}; }}; f\"\n");
    write(&home.path().join(".gitconfig"), &config);
    let home = [("HOME", home.path().to_str().unwrap())];
    let public = GitServer::new(&repository.served(), None);
    succeed(child(TEST, public.remote("app.git").url(), &home));
    assert!(!log.exists(), "the helper ran for a public repository");
    let private = GitServer::new(&repository.served(), Some(TOKEN));
    succeed(child(TEST, private.remote("app.git").url(), &home));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "get\n");
}

#[test]
fn passes_the_token_to_git_in_no_argument_and_no_variable() {
    const TEST: &str = "credentials::passes_the_token_to_git_in_no_argument_and_no_variable";
    if let Some(remote) = child_remote() {
        GitBinary.list(&remote).unwrap();
        return;
    }
    let repository = Repository::new();
    let directory = tempfile::tempdir().unwrap();
    let (log, bin) = (directory.path().join("log"), directory.path().join("bin"));
    // A wrapper that logs its arguments and environment, and then runs git. The variable with the
    // remote is one of this test.
    let find = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
    let git = String::from_utf8(find.stdout).unwrap();
    let write_log = format!("(echo \"$@\"; env | grep -v ^CARAFE_TEST_REMOTE=) >> {}", log.display());
    write(&bin.join("git"), &format!("#!/bin/sh\n{write_log}\nexec {} \"$@\"\n", git.trim()));
    make_executable(&bin.join("git"));
    let server = GitServer::new(&repository.served(), Some(TOKEN));
    let url = format!("http://robot:{TOKEN_IN_URL}@127.0.0.1:{}/app.git", server.port);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    succeed(child(TEST, &url, &[("PATH", &path)]));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("ls-remote"));
    assert!(!text.contains(TOKEN) && !text.contains(TOKEN_IN_URL), "{text}");
}
