//! TLS, proxies, ssh, and a fetch that is killed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use carafe_builder::git::{GitBackend, GitBinary, GitError, GixBackend, Remote, Store, resolve};
use carafe_builder::net::tls::install_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{
    GitServer, Repository, ScriptedServer, TestCache, child, child_remote, make_executable, message, succeed,
    task, write,
};

const BACKENDS: [&dyn GitBackend; 2] = [&GixBackend, &GitBinary];

/// A TLS proxy before the server on `port`, with one request in each connection. Returns its port.
fn tls_proxy(port: u16) -> u16 {
    install_provider().unwrap();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            // A client that does not trust the certificate closes the connection.
            let _ = forward(rustls::StreamOwned::new(connection, stream.unwrap()), port);
        }
    });
    own
}

fn forward(
    mut client: rustls::StreamOwned<rustls::ServerConnection, TcpStream>,
    port: u16,
) -> std::io::Result<()> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body)?;
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.write_all(&[request, body].concat())?;
    let mut response = Vec::new();
    server.read_to_end(&mut response)?;
    client.write_all(&response)?;
    client.conn.send_close_notify();
    client.flush()
}

#[test]
fn trusts_a_private_ca_that_a_variable_names() {
    const TEST: &str = "network::trusts_a_private_ca_that_a_variable_names";
    if let Some(remote) = child_remote() {
        for backend in BACKENDS {
            assert_eq!(backend.list(&remote).unwrap().len(), 1);
        }
        return;
    }
    let repository = Repository::new();
    let server = GitServer::new(&repository.served(), None);
    let url = format!("https://127.0.0.1:{}/app.git", tls_proxy(server.port));
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/git/tls/authority.pem");
    for name in ["SSL_CERT_FILE", "GIT_SSL_CAINFO"] {
        succeed(child(TEST, &url, &[(name, authority)]));
    }
    for backend in BACKENDS {
        let error = backend.list(&Remote::parse(&url).unwrap()).unwrap_err();
        assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
        assert!(
            message(&error).contains("ertificate") && message(&error).contains("SSL_CERT_FILE"),
            "{}",
            message(&error)
        );
    }
}

#[test]
fn uses_a_proxy_that_a_variable_names() {
    const TEST: &str = "network::uses_a_proxy_that_a_variable_names";
    if let Some(remote) = child_remote() {
        for backend in BACKENDS {
            message(&backend.list(&remote).unwrap_err());
        }
        return;
    }
    let proxy =
        ScriptedServer::new(|_| "HTTP/1.1 502 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into());
    succeed(child(TEST, "http://git.invalid/app", &[("http_proxy", &proxy.url(""))]));
    let requests = proxy.requests.lock().unwrap();
    let through =
        requests.iter().filter(|request| request.starts_with("GET http://git.invalid/app/info/refs"));
    assert_eq!(through.count(), 2, "{requests:?}");
}

#[test]
fn uses_the_ssh_command_of_the_user() {
    const TEST: &str = "network::uses_the_ssh_command_of_the_user";
    if let Some(remote) = child_remote() {
        let main = resolve(&remote, "main").unwrap();
        TestCache::new().store.fetch(&remote, &main.commit, &task()).unwrap();
        return;
    }
    let repository = Repository::new();
    let directory = tempfile::tempdir().unwrap();
    // An ssh that runs the remote command on this machine.
    let ssh = directory.path().join("ssh");
    write(&ssh, "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n");
    make_executable(&ssh);
    let variables = [("GIT_SSH_COMMAND", ssh.to_str().unwrap())];
    let path = repository.bare();
    for url in
        [format!("ssh://git@example.org{}", path.display()), format!("git@example.org:{}", path.display())]
    {
        succeed(child(TEST, &url, &variables));
    }
}

#[test]
fn a_killed_fetch_does_not_affect_the_next_one() {
    const TEST: &str = "network::a_killed_fetch_does_not_affect_the_next_one";
    const STORE: &str = "CARAFE_TEST_STORE";
    const COMMIT: &str = "CARAFE_TEST_COMMIT";
    if let Some(remote) = child_remote() {
        let variable = |name| std::env::var(name).unwrap();
        let cache = carafe_builder::cache::Cache::at(variable(STORE).as_ref()).unwrap();
        let commit = variable(COMMIT).parse().unwrap();
        let _ = Store::new(&cache).unwrap().fetch(&remote, &commit, &task());
        return;
    }
    let repository = Repository::new();
    let cache = TestCache::new();
    // A server that reads the request and never responds.
    let silent = ScriptedServer::new(|_| {
        loop {
            std::thread::park();
        }
    });
    let (store, commit) = (cache.directory.path().to_str().unwrap(), repository.head());
    let variables = [(STORE, store), (COMMIT, commit.as_str())];
    let mut fetching = child(TEST, &silent.url("app"), &variables).spawn().unwrap();
    let scratch_directories = || {
        let names = std::fs::read_dir(cache.directory.path().join("git-v1"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".scratch-")).count()
    };
    while scratch_directories() == 0 {
        assert!(fetching.try_wait().unwrap().is_none(), "the child exited before it was killed");
        std::thread::sleep(Duration::from_millis(10));
    }
    fetching.kill().unwrap();
    fetching.wait().unwrap();
    assert_eq!((scratch_directories(), cache.entries().len()), (1, 0));
    cache.store.fetch(&repository.by_file(), &commit, &task()).unwrap();
    assert_eq!((scratch_directories(), cache.entries()), (0, vec![commit.to_string()]));
}
