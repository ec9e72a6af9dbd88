//! A scripted upstream server: the test determines each response, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carafe_builder::net::tls::install_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A request that the server received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub method: String,
    pub path: String,
    /// The headers; names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The number of earlier requests for this path.
    pub earlier: usize,
}

impl ReceivedRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An action of the server. After the last one it waits for the next request.
#[derive(Clone, Debug)]
pub enum Action {
    Send(Vec<u8>),
    Pause(Duration),
    /// Closes the connection orderly.
    Close,
    /// Resets the connection.
    Reset,
}

type Script = dyn Fn(&ReceivedRequest) -> Vec<Action> + Send + Sync;

pub struct ScriptedServer {
    pub port: u16,
    scheme: &'static str,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl ScriptedServer {
    /// A server for http.
    pub fn new(script: impl Fn(&ReceivedRequest) -> Vec<Action> + Send + Sync + 'static) -> Self {
        Self::start("http", Box::new(script))
    }

    /// A server for https, with the certificate of `tests/git/tls`, for 127.0.0.1 and localhost.
    pub fn tls(script: impl Fn(&ReceivedRequest) -> Vec<Action> + Send + Sync + 'static) -> Self {
        Self::start("https", Box::new(script))
    }

    fn start(scheme: &'static str, script: Box<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let script: Arc<Script> = script.into();
        let tls = (scheme == "https").then(tls_config);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, script, tls) = (Arc::clone(&log), Arc::clone(&script), tls.clone());
                std::thread::spawn(move || {
                    // Errors are expected where a test's client closes the connection.
                    let raw = stream.try_clone().unwrap();
                    let _ = match tls {
                        None => handle(stream, &raw, &log, &*script),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).unwrap();
                            handle(rustls::StreamOwned::new(connection, stream), &raw, &log, &*script)
                        }
                    };
                });
            }
        });
        Self { port, scheme, received }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap().clone()
    }
}

fn tls_config() -> Arc<rustls::ServerConfig> {
    install_provider().unwrap();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../git/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../git/tls/server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
}

fn handle(
    stream: impl Read + Write,
    raw: &TcpStream,
    log: &Mutex<Vec<ReceivedRequest>>,
    script: &Script,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = read(&mut stream)? {
        {
            let mut log = log.lock().unwrap();
            request.earlier = log.iter().filter(|other| other.path == request.path).count();
            log.push(request.clone());
        }
        for act in script(&request) {
            match act {
                Action::Send(bytes) => {
                    stream.get_mut().write_all(&bytes)?;
                    stream.get_mut().flush()?;
                }
                Action::Pause(pause) => std::thread::sleep(pause),
                Action::Close => return raw.shutdown(std::net::Shutdown::Both),
                Action::Reset => {
                    rustix::net::sockopt::set_socket_linger(raw.as_fd(), Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Option<ReceivedRequest>> {
    let mut line = || -> std::io::Result<String> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    let Some((method, rest)) = first.split_once(' ') else { return Ok(None) };
    let path = rest.split(' ').next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let method = method.to_owned();
    let mut request = ReceivedRequest { method, path, headers, body: Vec::new(), earlier: 0 };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// A complete HTTP/1.1 response.
pub fn respond(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<Action> {
    let mut head = format!("HTTP/1.1 {status} Reason\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    vec![Action::Send([head.as_bytes(), body].concat())]
}
