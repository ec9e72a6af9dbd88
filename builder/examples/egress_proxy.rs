//! A door at a port of this machine, to try clients on and to measure what it costs:
//! `door record|replay CACHE RECORD CA_FILE`. It writes its certificate to CA_FILE, says its
//! address, and closes (writing RECORD, when recording) at the end of its input.

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
    let [mode, cache, record, ca_file] = arguments.as_slice() else {
        return Err("usage: door record|replay CACHE RECORD CA_FILE".into());
    };
    let is_replay = mode == "replay";
    let mode = match is_replay {
        true => Mode::Replay(Recording::parse(&std::fs::read(record)?)?),
        false => Mode::Record { previous: None, update: Update::All },
    };
    // What a test serves in place of the outside.
    let private_hosts = std::env::var("DOOR_PRIVATE_HOSTS").unwrap_or_default();
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
    let names = UdpSocket::bind("127.0.0.1:0")?;
    let guard =
        proxy.serve(ProxySockets { proxy: listener, dns: names, bypass: Vec::new(), process: getpid() });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(guard);
    let passed = proxy.close()?;
    eprintln!(
        "{} answers, {} bytes fetched, {} served, {} tries again",
        passed.record.entries().len(),
        passed.bytes_fetched,
        passed.bytes_served,
        passed.tries_again
    );
    passed.refusals.iter().for_each(|refusal| eprintln!("refused: {refusal}"));
    if !is_replay {
        std::fs::write(record, passed.record.to_bytes())?;
        passed.complete()?;
    }
    Ok(())
}
