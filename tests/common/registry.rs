//! Debian's docker-registry on loopback, one for each test, gone when dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// How the registry is to be.
#[derive(Default)]
pub struct Setup {
    /// A user and a password that it wants to see.
    pub login: Option<(&'static str, &'static str)>,
    /// PEM files of its certificate and key; without them it speaks plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The PEM file of a CA whose certificates it wants clients to have.
    pub client_ca: Option<PathBuf>,
    /// On `[::1]` instead of 127.0.0.1.
    pub is_v6: bool,
}

/// A running registry that keeps everything in a directory of its own.
pub struct RegistryServer {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl RegistryServer {
    /// Open to everyone, over plain HTTP.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// As described.
    pub fn with(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yml");
        std::fs::write(&config, configuration(&setup, &directory)).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry runs (the Debian package `docker-registry` has it)");
        let (found, address) = mpsc::channel();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        // To the end, so that the registry never waits for a reader of its log.
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let end = rest.find([',', '"', ' ']);
                    let _ = found.send(rest[..end.unwrap_or(rest.len())].to_owned());
                }
            }
        });
        let address = address.recv().expect("docker-registry says where it listens");
        Self { child, address, directory }
    }

    /// `127.0.0.1:port` or `[::1]:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it keeps everything.
    #[allow(dead_code, reason = "not every test program looks there")]
    pub fn storage(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// The name of an image in it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(setup: &Setup, directory: &tempfile::TempDir) -> String {
    let mut text = format!(
        "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
        directory.path().join("storage").display()
    );
    if let Some((user, password)) = setup.login {
        let path = directory.path().join("htpasswd");
        std::fs::write(&path, htpasswd(user, password)).unwrap();
        text += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display());
    }
    let host = if setup.is_v6 { "[::1]" } else { "127.0.0.1" };
    text += &format!("http:\n  addr: '{host}:0'\n  secret: a-secret-of-the-tests\n");
    if let Some((certificate, key)) = &setup.tls {
        text += &format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        text += &setup
            .client_ca
            .iter()
            .map(|ca| format!("    clientcas: [{}]\n", ca.display()))
            .collect::<String>();
    }
    text
}

/// An entry as `htpasswd` makes it; docker-registry takes bcrypt alone.
fn htpasswd(user: &str, password: &str) -> Vec<u8> {
    let mut child = Command::new("htpasswd")
        .args(["-i", "-n", "-B", "-C", "4", user])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("htpasswd runs (the Debian package `apache2-utils` has it)");
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}
