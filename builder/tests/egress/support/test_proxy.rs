//! An egress proxy on a port of this machine, without a sandbox, and clients that use it.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use carafe_builder::cache::Cache;
use carafe_builder::egress::{
    BodyStore, EgressConfig, EgressProxy, EgressReport, Mode, Recording, Update, Upstream,
};
use carafe_builder::net::Proxies;
use carafe_builder::net::retry::{RetryPolicy, Timeouts};
use carafe_builder::progress::Progress;
use carafe_builder::sandbox::{ProxyHandle, ProxySockets};
use carafe_builder::secret::Redactor;
use rustix::process::Pid;
use tempfile::TempDir;

/// 2020-01-01.
const DATE: i64 = 1_577_836_800;

/// Short timeouts and pauses, so that tests are fast.
pub fn test_retry_policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        timeouts: Timeouts { connect: Duration::from_secs(5), read: Duration::from_secs(10) },
        first_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(50),
        max_retry_after: Some(Duration::from_millis(50)),
        ..Upstream::retry_policy()
    }
}

/// Upstream servers on this machine, with the tests' CA.
pub fn upstream() -> Upstream {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/git/tls/authority.pem");
    Upstream {
        private_hosts: ["127.0.0.1".to_owned(), "localhost".to_owned()].into(),
        authorities: vec![PathBuf::from(authority)],
        proxies: Proxies::None,
        retry_policy: test_retry_policy(),
        ..Upstream::default()
    }
}

pub struct TestProxy {
    pub egress: EgressProxy,
    pub port: u16,
    pub dns_port: u16,
    directory: TempDir,
    guard: Mutex<Box<dyn Send>>,
}

pub struct CurlResponse {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// curl's exit code.
    pub exit: i32,
}

impl CurlResponse {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header of the last response.
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().rev().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

impl TestProxy {
    pub fn recording(cache: &Path, upstream: Upstream) -> Self {
        Self::open(cache, upstream, Mode::Record { previous: None, update: Update::All })
    }

    pub fn replaying(cache: &Path, upstream: Upstream, recording: &Recording) -> Self {
        Self::open(cache, upstream, Mode::Replay(recording.clone()))
    }

    pub fn open(cache: &Path, upstream: Upstream, mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let egress = EgressProxy::open(EgressConfig {
            mode,
            bodies: BodyStore::of(&Cache::at(cache).unwrap()).unwrap(),
            upstream,
            date: DATE,
            redactor: Redactor::default(),
            progress: Progress::silent(),
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dns_port = dns.local_addr().unwrap().port();
        let process = Pid::from_raw(std::process::id().cast_signed()).unwrap();
        std::fs::write(directory.path().join("ca.pem"), egress.ca_certificate()).unwrap();
        let guard = egress.serve(ProxySockets { proxy: listener, dns, bypass: Vec::new(), process });
        Self { egress, port, dns_port, directory, guard: Mutex::new(guard) }
    }

    /// A path in the directory of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program that uses the egress proxy, without any other environment.
    pub fn command(&self, program: &str) -> Command {
        let proxy = format!("http://127.0.0.1:{}", self.port);
        let ca = self.path("ca.pem");
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.directory.path());
        command.current_dir(self.directory.path());
        for name in ["http_proxy", "https_proxy", "HTTPS_PROXY"] {
            command.env(name, &proxy);
        }
        for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"] {
            command.env(name, &ca);
        }
        command
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program).args(args).output().unwrap()
    }

    pub fn get(&self, url: &str) -> CurlResponse {
        self.curl(&[url])
    }

    pub fn curl(&self, args: &[&str]) -> CurlResponse {
        let head = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        let body = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        let mut command = self.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--write-out", "%{http_code}"]);
        command.args(["--suppress-connect-headers", "--dump-header"]).arg(head.path());
        let output = command.arg("--output").arg(body.path()).args(args).output().unwrap();
        CurlResponse {
            status: String::from_utf8(output.stdout).unwrap().parse().unwrap_or(0),
            head: std::fs::read_to_string(head.path()).unwrap(),
            body: std::fs::read(body.path()).unwrap(),
            exit: output.status.code().unwrap_or(-1),
        }
    }

    pub fn close(self) -> EgressReport {
        drop(self.guard);
        self.egress.close().unwrap()
    }
}
