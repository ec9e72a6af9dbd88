//! Tokens open repositories and stay out of everything else.

use std::process::Command;

use carafe_builder::git::{
    Credential, GitBackend, GitBinary, GitError, InProcess, Remote, contains, resolve,
};
use carafe_builder::secret::Secret;

use crate::support::{
    MaterialSource, Repository, Scripted, Server, TOKEN, TOKEN_IN_URL, child, child_remote, files_with,
    make_executable, succeed, task, told, write,
};

const BACKENDS: [&dyn GitBackend; 2] = [&InProcess, &GitBinary];

#[test]
fn a_token_opens_a_private_repository_and_is_written_nowhere() {
    let repository = Repository::new();
    let first = repository.head();
    let commit = repository.commit("second");
    let server = Server::new(&repository.served(), Some(TOKEN));
    let remote = server.private("app.git");
    let shelf = MaterialSource::new();
    let main = resolve(&remote, "main").unwrap();
    assert_eq!(main.commit, commit);
    let history = shelf.directory.path().join("history");
    std::fs::create_dir(&history).unwrap();
    assert!(contains(&remote, &main, &first, &history).unwrap());
    shelf.store.fetch(&remote, &commit, &task()).unwrap();
    for text in [TOKEN, TOKEN_IN_URL, "robot"] {
        assert_eq!(files_with(shelf.directory.path(), text), [""; 0].map(std::path::PathBuf::from));
    }
}

#[test]
fn a_token_can_be_given_beside_the_address() {
    let repository = Repository::new();
    let server = Server::new(&repository.served(), Some(TOKEN));
    let credential = Credential::token(Secret::new(TOKEN)).unwrap();
    let remote = server.remote("app.git").with_credential(credential);
    for backend in BACKENDS {
        assert_eq!(backend.list(&remote).unwrap().len(), 1);
    }
}

#[test]
fn a_token_in_the_place_of_the_name_is_passed_on() {
    let repository = Repository::new();
    let server = Server::new(&repository.served(), Some(TOKEN));
    let url = format!("http://{TOKEN_IN_URL}@127.0.0.1:{}/app.git", server.port);
    for backend in BACKENDS {
        assert_eq!(backend.list(&Remote::parse(&url).unwrap()).unwrap().len(), 1);
    }
}

#[test]
fn a_missing_or_wrong_token_is_an_error_without_it() {
    let repository = Repository::new();
    let server = Server::new(&repository.served(), Some(TOKEN));
    let wrong = format!("http://robot:wr0ngt0ken@127.0.0.1:{}/app.git", server.port);
    for backend in BACKENDS {
        let error = backend.list(&server.remote("app.git")).unwrap_err();
        assert!(matches!(error, GitError::CredentialMissing { .. }), "{error:?}");
        told(&error);
        let error = backend.list(&Remote::parse(&wrong).unwrap()).unwrap_err();
        assert!(matches!(error, GitError::CredentialRefused { .. }), "{error:?}");
        let text = format!("{} {error:?}", told(&error));
        assert!(!text.contains("wr0ng"), "{text}");
    }
}

#[test]
fn forbidden_is_a_refusal() {
    let server = Scripted::new(|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into());
    let remote = Remote::parse(&server.url("app").replace("//", "//robot:t0ken22@")).unwrap();
    for backend in BACKENDS {
        let error = backend.list(&remote).unwrap_err();
        assert!(matches!(error, GitError::CredentialRefused { .. }), "{error:?}");
        assert!(!told(&error).contains("t0ken22"));
    }
}

#[test]
fn what_a_server_says_is_shown_without_the_token() {
    let server = Scripted::new(|_| {
        let body = "the t0ken22 is bad";
        format!("HTTP/1.1 500 t0ken22\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let remote = Remote::parse(&server.url("app").replace("//", "//robot:t0ken22@")).unwrap();
    for backend in BACKENDS {
        let error = backend.list(&remote).unwrap_err();
        let text = format!("{} {error:?}", told(&error));
        assert!(!text.contains("t0ken22"), "{text}");
    }
}

#[test]
fn a_redirect_of_a_public_repository_is_followed() {
    let repository = Repository::new();
    let server = Server::new(&repository.served(), None);
    let target = format!("http://127.0.0.1:{}", server.port);
    let moved = Scripted::new(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        format!("HTTP/1.1 301 Moved\r\nLocation: {target}{path}\r\nContent-Length: 0\r\n\r\n")
    });
    let remote = Remote::parse(&moved.url("app.git")).unwrap();
    for backend in BACKENDS {
        assert_eq!(backend.list(&remote).unwrap().len(), 1);
    }
    MaterialSource::new().store.fetch(&remote, &repository.head(), &task()).unwrap();
}

#[test]
fn a_redirect_takes_no_credential_to_another_host() {
    const ASK: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                       Content-Length: 0\r\nConnection: close\r\n\r\n";
    let stranger = Scripted::new(|_| ASK.into());
    let target = format!("http://127.0.0.1:{}", stranger.port);
    let moved = Scripted::new(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {target}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    });
    let remote = Remote::parse(&moved.url("app.git").replace("//", "//robot:t0ken22@")).unwrap();
    for backend in BACKENDS {
        let error = backend.list(&remote).unwrap_err();
        assert!(!told(&error).contains("t0ken22"), "{error:?}");
    }
    let requests = stranger.requests.lock().unwrap();
    assert!(!requests.is_empty());
    for request in requests.iter() {
        assert!(!request.to_lowercase().contains("authorization"), "{request}");
    }
}

#[test]
fn gits_credential_helper_is_asked_when_the_server_asks() {
    const TEST: &str = "credentials::gits_credential_helper_is_asked_when_the_server_asks";
    if let Some(remote) = child_remote() {
        resolve(&remote, "main").unwrap();
        return;
    }
    let repository = Repository::new();
    let home = tempfile::tempdir().unwrap();
    let asked = home.path().join("asked");
    let answer = format!("echo $1 >> {}; echo username=u; echo password={TOKEN}", asked.display());
    let config = format!("[credential]\n\thelper = \"!f() {{ {answer}; }}; f\"\n");
    write(&home.path().join(".gitconfig"), &config);
    let home = [("HOME", home.path().to_str().unwrap())];
    let public = Server::new(&repository.served(), None);
    succeed(child(TEST, public.remote("app.git").url(), &home));
    assert!(!asked.exists(), "a public repository asks nobody");
    let private = Server::new(&repository.served(), Some(TOKEN));
    succeed(child(TEST, private.remote("app.git").url(), &home));
    assert_eq!(std::fs::read_to_string(&asked).unwrap(), "get\n");
}

#[test]
fn the_token_is_in_no_argument_and_no_variable_of_git() {
    const TEST: &str = "credentials::the_token_is_in_no_argument_and_no_variable_of_git";
    if let Some(remote) = child_remote() {
        GitBinary.list(&remote).unwrap();
        return;
    }
    let repository = Repository::new();
    let directory = tempfile::tempdir().unwrap();
    let (log, bin) = (directory.path().join("log"), directory.path().join("bin"));
    // A git that notes its arguments and environment, and then is git. The remote is in a variable
    // by the test's own doing.
    let find = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
    let git = String::from_utf8(find.stdout).unwrap();
    let note = format!("(echo \"$@\"; env | grep -v ^CARAFE_TEST_REMOTE=) >> {}", log.display());
    write(&bin.join("git"), &format!("#!/bin/sh\n{note}\nexec {} \"$@\"\n", git.trim()));
    make_executable(&bin.join("git"));
    let server = Server::new(&repository.served(), Some(TOKEN));
    let url = format!("http://robot:{TOKEN_IN_URL}@127.0.0.1:{}/app.git", server.port);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    succeed(child(TEST, &url, &[("PATH", &path)]));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("ls-remote"));
    assert!(!text.contains(TOKEN) && !text.contains(TOKEN_IN_URL), "{text}");
}
