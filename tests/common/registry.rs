//! Debian's docker-registry on loopback, one per test. It ends when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// The configuration of the registry.
#[derive(Default)]
pub struct Setup {
    /// The user name and password that it requires.
    pub login: Option<(&'static str, &'static str)>,
    /// The PEM files of its certificate and key; without them it uses plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The PEM file of a CA. It requires client certificates of this CA.
    pub client_ca: Option<PathBuf>,
    /// On `[::1]` instead of 127.0.0.1.
    pub is_v6: bool,
}

/// A running registry with its own storage directory.
pub struct RegistryServer {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl RegistryServer {
    /// Without authentication, over plain HTTP.
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// With this configuration.
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
        // To the end, so that the registry never blocks while it writes its log.
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let end = rest.find([',', '"', ' ']);
                    let _ = found.send(rest[..end.unwrap_or(rest.len())].to_owned());
                }
            }
        });
        let address = address.recv().expect("docker-registry logs its address");
        Self { child, address, directory }
    }

    /// `127.0.0.1:port` or `[::1]:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its storage directory.
    #[allow(dead_code, reason = "not every test program uses it")]
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

/// A line of an htpasswd file; docker-registry accepts only bcrypt.
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
