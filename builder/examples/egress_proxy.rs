//! An egress proxy on a port of this machine, to test clients with it and to measure its cost:
//! `egress_proxy record|replay CACHE RECORDING CA_FILE`. It writes its CA certificate to CA_FILE,
//! prints its URL, and closes at the end of its input; when recording, it then writes RECORDING.

use std::error::Error;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use carafe_builder::cache::Cache;
use carafe_builder::egress::{BodyStore, EgressConfig, EgressProxy, Mode, Recording, Update, Upstream};
use carafe_builder::progress::Progress;
use carafe_builder::sandbox::{ProxyHandle, ProxySockets};
use carafe_builder::secret::Redactor;
use rustix::process::getpid;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mode, cache, recording, ca_file] = arguments.as_slice() else {
        return Err("usage: egress_proxy record|replay CACHE RECORDING CA_FILE".into());
    };
    let is_replay = mode == "replay";
    let mode = match is_replay {
        true => Mode::Replay(Recording::parse(&std::fs::read(recording)?)?),
        false => Mode::Record { previous: None, update: Update::All },
    };
    // The servers of a test, in place of upstream servers.
    let private_hosts = std::env::var("EGRESS_PRIVATE_HOSTS").unwrap_or_default();
    let proxy = EgressProxy::open(EgressConfig {
        mode,
        bodies: BodyStore::of(&Cache::at(Path::new(cache))?)?,
        upstream: Upstream {
            private_hosts: private_hosts.split_whitespace().map(str::to_owned).collect(),
            offline: is_replay,
            ..Upstream::default()
        },
        date: 1_577_836_800,
        redactor: Redactor::default(),
        progress: Progress::silent(),
    })?;
    std::fs::write(ca_file, proxy.ca_certificate())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}", listener.local_addr()?);
    let dns = UdpSocket::bind("127.0.0.1:0")?;
    let guard = proxy.serve(ProxySockets { proxy: listener, dns, bypass: Vec::new(), process: getpid() });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(guard);
    let report = proxy.close()?;
    eprintln!(
        "{} responses, {} bytes fetched, {} bytes served, {} retries",
        report.recording.entries().len(),
        report.bytes_fetched,
        report.bytes_served,
        report.retries
    );
    report.blocked.iter().for_each(|request| eprintln!("blocked: {request}"));
    if !is_replay {
        std::fs::write(recording, report.recording.to_bytes())?;
        report.complete()?;
    }
    Ok(())
}
