//! nginx in front of a registry: with TLS, HTTP/2, a body limit and short timeouts. It can be killed and
//! restarted on the same port.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::certificates::authority;

/// A directory with its configuration, its log and a private CA's certificates.
pub struct Nginx {
    directory: tempfile::TempDir,
    address: String,
    child: Option<Child>,
}

impl Nginx {
    /// Starts it in front of `registry`, with a body limit of six million bytes: slightly more than a chunk.
    pub fn in_front_of(registry: &str) -> Self {
        Self::with(registry, "")
    }

    /// The same, but it requires a client certificate of the private CA.
    pub fn with_client_certificates(registry: &str) -> Self {
        Self::with(registry, "ssl_client_certificate ca.pem; ssl_verify_client on;")
    }

    fn with(registry: &str, directives: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        authority(directory.path());
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        std::fs::write(
            directory.path().join("nginx.conf"),
            configuration(directory.path(), &address, registry, directives),
        )
        .unwrap();
        let mut nginx = Self { directory, address, child: None };
        nginx.start();
        nginx
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The directory with the CA that signed its certificate.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The CA that signed its certificate.
    pub fn authority(&self) -> std::path::PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A line for each response: status, protocol, method and path.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default()
    }

    /// In one process, so that a kill ends all of it.
    pub fn start(&mut self) {
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("nginx")
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .arg("-p")
            .arg(self.directory.path())
            .args(["-e", "error.log", "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs (the Debian package `nginx` has it)");
        self.child = Some(child);
        while TcpStream::connect(&self.address).is_err() {
            let child = self.child.as_mut().unwrap();
            assert!(child.try_wait().unwrap().is_none(), "nginx ended: {}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Like `kill -9`: connections break, and the port is closed.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

fn configuration(directory: &Path, address: &str, registry: &str, directives: &str) -> String {
    let directory = directory.display();
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 256; }}
http {{
    log_format short '$status $server_protocol $request_method $uri';
    access_log {directory}/access.log short;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    client_max_body_size 6000000;
    client_header_timeout 2s; client_body_timeout 2s; send_timeout 2s; keepalive_timeout 2s;
    proxy_connect_timeout 2s; proxy_read_timeout 10s; proxy_send_timeout 5s;
    server {{
        listen {address} ssl http2;
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.key;
        {directives}
        location / {{
            proxy_pass http://{registry};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"
    )
}
