//! Proxies and IPv6.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use carafe::registry::{Registry, RegistryError, RegistryOptions};

use crate::certificates::authority;
use crate::images::Image;
use crate::push::push;
use crate::server::{RegistryServer, Setup};
use crate::{client, in_environment, inside, name, quick, shown};

/// base64 of `user:proxy-password`.
const LOGIN: &str = "dXNlcjpwcm94eS1wYXNzd29yZA==";

/// A fake proxy: it connects to the target of CONNECT, and logs it.
struct Proxy {
    address: String,
    requested: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requested = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requested);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                thread::spawn(move || serve(stream, &log));
            }
        });
        Self { address, requested }
    }
}

fn serve(mut client: TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let line = head.lines().next()?;
    log.lock().unwrap().push(line.to_owned());
    if !head.to_lowercase().contains(&format!("proxy-authorization: basic {LOGIN}").to_lowercase()) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").ok()?;
        return None;
    }
    let mut server = TcpStream::connect(line.strip_prefix("CONNECT ")?.split(' ').next()?).ok()?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut back, mut to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut reader, &mut server);
    server.shutdown(Shutdown::Write).ok()
}

/// The error of a request, in a process with these variables.
fn resolve(address: &str) -> RegistryError {
    let options = RegistryOptions { retries: quick(), ..RegistryOptions::default() };
    Registry::new(options).unwrap().resolve(&name(&format!("{address}/a:1"))).unwrap_err()
}

#[test]
fn uses_a_proxy_except_for_excluded_hosts() {
    const TEST: &str = "proxy::uses_a_proxy_except_for_excluded_hosts";
    if let Some(address) = inside() {
        let error = resolve(&address);
        return assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
    }
    let (directory, proxy) = (tempfile::tempdir().unwrap(), Proxy::start());
    authority(directory.path());
    let tls = Some((directory.path().join("server.pem"), directory.path().join("server.key")));
    let server = RegistryServer::with(Setup { tls, ..Setup::default() });
    let ca = directory.path().join("ca.pem");
    let url = format!("http://user:proxy-password@{}", proxy.address);
    let variables =
        [("SSL_CERT_FILE", ca.to_str().unwrap()), ("HTTPS_PROXY", &url), ("NO_PROXY", "10.0.0.0/8")];
    in_environment(TEST, server.address(), &variables);
    let expected = format!("CONNECT {} HTTP/1.1", server.address());
    let requested = std::mem::take(&mut *proxy.requested.lock().unwrap());
    assert!(!requested.is_empty() && requested.iter().all(|line| *line == expected), "{requested:?}");

    let variables = [variables[0], variables[1], ("NO_PROXY", "127.0.0.0/8")];
    in_environment(TEST, server.address(), &variables);
    assert!(proxy.requested.lock().unwrap().is_empty());
}

#[test]
fn does_not_show_the_password_of_a_proxy() {
    if let Some(address) = inside() {
        let text = shown(resolve(&address));
        assert!(text.contains("HTTPS_PROXY"), "{text}");
        return assert!(!text.contains("wrong-password"), "{text}");
    }
    let proxy = Proxy::start();
    let url = format!("http://user:wrong-password@{}", proxy.address);
    let test = "proxy::does_not_show_the_password_of_a_proxy";
    in_environment(test, "registry.example.com", &[("HTTPS_PROXY", &url), ("NO_PROXY", "")]);
    assert!(!proxy.requested.lock().unwrap().is_empty());
}

#[test]
fn supports_a_registry_with_an_ipv6_address() {
    let (server, image) =
        (RegistryServer::with(Setup { is_v6: true, ..Setup::default() }), Image::new(&[b"one"]));
    assert!(server.address().starts_with("[::1]:"));
    let registry = client(server.address());
    push(&registry, &image, &[&server.image("a:1")]).unwrap();
    let found = registry.resolve(&name(&server.image("a:1"))).unwrap();
    assert_eq!(found.digest, image.resolved().descriptor.digest);
}
