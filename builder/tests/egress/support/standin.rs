//! A scripted stand-in for a server of the outside: it answers what the test says, and how.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carafe_builder::net::tls::install_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many requests for this path came before.
    pub before: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the stand-in does, one after the other. After the last it waits for the next request.
#[derive(Clone, Debug)]
pub enum Act {
    Send(Vec<u8>),
    Pause(Duration),
    /// Ends the connection as it should be ended.
    Close,
    /// Ends it as a crash would.
    Reset,
}

type Script = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

pub struct Standin {
    pub port: u16,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Standin {
    /// Over http.
    pub fn new(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::start("http", Box::new(script))
    }

    /// Over https, with the certificate of `tests/git/tls`, for 127.0.0.1 and localhost.
    pub fn tls(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::start("https", Box::new(script))
    }

    fn start(scheme: &'static str, script: Box<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let script: Arc<Script> = script.into();
        let tls = (scheme == "https").then(tls_config);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, script, tls) = (Arc::clone(&log), Arc::clone(&script), tls.clone());
                std::thread::spawn(move || {
                    // A client that goes away is the test's affair.
                    let raw = stream.try_clone().unwrap();
                    let _ = match tls {
                        None => converse(stream, &raw, &log, &*script),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).unwrap();
                            converse(rustls::StreamOwned::new(connection, stream), &raw, &log, &*script)
                        }
                    };
                });
            }
        });
        Self { port, scheme, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    /// What came so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn tls_config() -> Arc<rustls::ServerConfig> {
    install_provider().unwrap();
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../git/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../git/tls/server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
}

fn converse(
    stream: impl Read + Write,
    raw: &TcpStream,
    log: &Mutex<Vec<Asked>>,
    script: &Script,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut asked) = read(&mut stream)? {
        {
            let mut log = log.lock().unwrap();
            asked.before = log.iter().filter(|other| other.path == asked.path).count();
            log.push(asked.clone());
        }
        for act in script(&asked) {
            match act {
                Act::Send(bytes) => {
                    stream.get_mut().write_all(&bytes)?;
                    stream.get_mut().flush()?;
                }
                Act::Pause(pause) => std::thread::sleep(pause),
                Act::Close => return raw.shutdown(std::net::Shutdown::Both),
                Act::Reset => {
                    rustix::net::sockopt::set_socket_linger(raw.as_fd(), Some(Duration::ZERO))?;
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
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
    let mut asked = Asked { method, path, headers, body: Vec::new(), before: 0 };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body)?;
    Ok(Some(asked))
}

/// A whole answer as HTTP/1.1 writes it.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<Act> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    vec![Act::Send([head.as_bytes(), body].concat())]
}
