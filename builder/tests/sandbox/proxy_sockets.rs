//! The one way out, with a proxy that answers everything itself.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use carafe_builder::cache::Cache;
use carafe_builder::egress::{
    BlockReason, BlockedRequest, BodyStore, EgressConfig, EgressError, EgressProxy, Mode, Recording, Upstream,
};
use carafe_builder::progress::Progress;
use carafe_builder::sandbox::{
    CancelToken, DIRECT_PORTS, ExitReason, Isolation, Network, ProxyHandle, ProxySockets,
};
use carafe_builder::secret::Redactor;

use crate::machine::Machine;

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("a_step_reaches_its_doorkeeper_and_nobody_else", a_step_reaches_its_doorkeeper_and_nobody_else),
        ("a_step_without_network_has_no_doorway", a_step_without_network_has_no_doorway),
        ("who_goes_past_the_proxy_is_refused_and_named", who_goes_past_the_proxy_is_refused_and_named),
        ("a_step_still_speaks_to_itself", a_step_still_speaks_to_itself),
        ("the_doorkeeper_stays_as_long_as_the_step", the_doorkeeper_stays_as_long_as_the_step),
        ("a_doorkeeper_that_is_silent_delays_no_end", a_doorkeeper_that_is_silent_delays_no_end),
    ]
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nof this door\n-----END CERTIFICATE-----\n";

/// Greets who connects, sends names back as they came, tells who goes past it where it wanted to
/// go, and counts whom it attends.
#[derive(Default)]
struct Porter {
    attending: Arc<AtomicUsize>,
    attended: AtomicUsize,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

/// Counts itself off when the step is over.
struct Attendance(Arc<AtomicUsize>);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ProxyHandle for Porter {
    fn ca_certificate(&self) -> &str {
        CERTIFICATE
    }

    fn attend(&self, proxy_sockets: ProxySockets) -> Box<dyn Send> {
        assert!(
            std::fs::exists(format!("/proc/{}/net/tcp", proxy_sockets.process.as_raw_nonzero())).unwrap()
        );
        self.attending.fetch_add(1, Ordering::SeqCst);
        self.attended.fetch_add(1, Ordering::SeqCst);
        let ProxySockets { proxy, names, mut direct, .. } = proxy_sockets;
        let greet = std::thread::spawn(move || {
            let (mut client, _) = proxy.accept().unwrap();
            let mut asked = [0; 4];
            client.read_exact(&mut asked).unwrap();
            client.write_all(b"welcome").unwrap();
        });
        let echo = std::thread::spawn(move || {
            let mut name = [0; 64];
            let (length, from) = names.recv_from(&mut name).unwrap();
            names.send_to(&name[..length], from).unwrap();
        });
        let https = DIRECT_PORTS.iter().position(|port| *port == 443).unwrap();
        let https = direct.swap_remove(https);
        let stop = std::thread::spawn(move || {
            let (mut client, _) = https.accept().unwrap();
            let wanted = client.local_addr().unwrap();
            client.write_all(format!("{}:{}", wanted.ip().to_canonical(), wanted.port()).as_bytes()).unwrap();
        });
        self.threads.lock().unwrap().extend([greet, echo, stop]);
        Box::new(Attendance(self.attending.clone()))
    }
}

fn with_porter() -> (Machine, Arc<Porter>) {
    let porter = Arc::new(Porter::default());
    let keeper = porter.clone();
    (Machine::made(Isolation::Namespaces, |config| config.proxy = Some(keeper)), porter)
}

const ASK: &str = "
import os, socket
from urllib.parse import urlsplit
proxy = urlsplit(os.environ['https_proxy'])
client = socket.create_connection((proxy.hostname, proxy.port))
client.sendall(b'open')
print(client.recv(7).decode())
name = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server = open('/etc/resolv.conf').read().split()[1]
name.sendto(b'who', (server, 53))
print(name.recv(3).decode())
print(open(os.environ['SSL_CERT_FILE']).read().split('\\n')[1])
print(socket.create_connection(('192.0.2.1', 443), 20).makefile().read())
try:
    socket.create_connection(('192.0.2.1', 8443), 20)
except OSError as error:
    print(error.strerror)
";

fn a_step_reaches_its_doorkeeper_and_nobody_else() {
    let (machine, porter) = with_porter();
    let lines = machine.python(ASK).well();
    assert_eq!(lines, ["welcome", "who", "of this door", "192.0.2.1:443", "Connection refused"]);
    assert_eq!(porter.attending.load(Ordering::SeqCst), 0, "the step is over");
}

fn a_step_without_network_has_no_doorway() {
    let (machine, porter) = with_porter();
    let script = "env | grep -ci proxy; cat /etc/resolv.conf; /usr/bin/python3 -c '
import socket
print(socket.socket().connect_ex((\"192.0.2.1\", 443)))'";
    let unreachable = rustix::io::Errno::NETUNREACH.raw_os_error().to_string();
    assert_eq!(machine.run(script, |step| step.network = Network::None).well(), ["0", &unreachable]);
    assert_eq!(porter.attended.load(Ordering::SeqCst), 0);
}

/// A machine whose door remembers nothing, and the door.
fn with_door() -> (Machine, Arc<EgressProxy>) {
    let mut opened = None;
    let machine = Machine::made(Isolation::Namespaces, |config| {
        let cache = Cache::at(&config.scratch.with_file_name("cache")).unwrap();
        let proxy = Arc::new(
            EgressProxy::open(EgressConfig {
                mode: Mode::Replay(Recording::default()),
                bodies: BodyStore::of(&cache).unwrap(),
                upstream: Upstream { offline: true, ..Upstream::default() },
                date: 0,
                redactor: Redactor::default(),
                progress: Progress::silent(),
            })
            .unwrap(),
        );
        config.proxy = Some(proxy.clone());
        opened = Some(proxy);
    });
    (machine, opened.unwrap())
}

fn who_goes_past_the_proxy_is_refused_and_named() {
    const STRAY: &str = "
import socket
try:
    socket.getaddrinfo('telemetry.test', 443)
except OSError:
    print('no such name')
for where in ('192.0.2.1', 443), ('192.0.2.2', 80), ('2001:db8::1', 22), ('192.0.2.1', 8443), ('127.0.0.1', 80):
    try:
        socket.create_connection(where, 20).recv(1)
    except OSError as error:
        print(error.strerror)
";
    let (machine, proxy) = with_door();
    const RESET: &str = "Connection reset by peer";
    let lines = machine.python(STRAY).well();
    let expected = ["no such name", RESET, RESET, RESET, "Connection refused", RESET];
    assert_eq!(lines.len(), expected.len());
    // A kernel may have been told to do without IPv6, and then has another word for it.
    let is_v6 = lines[3] == RESET || TcpListener::bind("[::1]:0").is_ok();
    for (at, (line, expected)) in lines.iter().zip(expected).enumerate() {
        assert!(line == expected || (at == 3 && !is_v6), "{at}: {line}");
    }
    let Some(EgressError::Blocked { requests: refusals }) = proxy.explain_failure() else {
        panic!("nothing was refused")
    };
    let mut wanted = vec!["DNS telemetry.test", "TCP 192.0.2.1:443", "TCP 192.0.2.2:80"];
    wanted.extend(is_v6.then_some("TCP [2001:db8::1]:22"));
    let told = |refusal: &BlockedRequest| format!("{} {}", refusal.method, refusal.url);
    assert_eq!(refusals.iter().map(told).collect::<Vec<_>>(), wanted);
    for refusal in refusals {
        assert_eq!(refusal.reason, BlockReason::Bypass);
        let peer = refusal.peer.unwrap();
        assert!(peer.command.starts_with("/usr/bin/python3 -c"), "{peer}");
    }
}

fn a_step_still_speaks_to_itself() {
    const SELF: &str = "
import socket
for address in '127.0.0.1', '0.0.0.0':
    server = socket.create_server((address, 0))
    client = socket.create_connection(('127.0.0.1', server.getsockname()[1]))
    there, (host, port) = server.accept()
    there.sendall(b'hello')
    print(client.recv(5).decode(), host)
print(socket.socket().connect_ex(('127.0.0.1', 9)))
";
    let (machine, proxy) = with_door();
    let refused = rustix::io::Errno::CONNREFUSED.raw_os_error().to_string();
    assert_eq!(machine.python(SELF).well(), ["hello 127.0.0.1", "hello 127.0.0.1", &refused]);
    assert!(proxy.explain_failure().is_none());
}

fn the_doorkeeper_stays_as_long_as_the_step() {
    let (machine, porter) = with_porter();
    for expected in 1..3 {
        machine.python(ASK).well();
        assert_eq!(porter.attended.load(Ordering::SeqCst), expected);
    }
    let threads = std::mem::take(&mut *porter.threads.lock().unwrap());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_doorkeeper_that_is_silent_delays_no_end() {
    struct Silent;
    impl ProxyHandle for Silent {
        fn ca_certificate(&self) -> &str {
            CERTIFICATE
        }
        fn attend(&self, proxy_sockets: ProxySockets) -> Box<dyn Send> {
            Box::new(proxy_sockets.proxy)
        }
    }
    let machine = Machine::made(Isolation::Namespaces, |config| config.proxy = Some(Arc::new(Silent)));
    let cancel: CancelToken = machine.cancel.clone();
    let script = "
import socket, sys
client = socket.create_connection(('127.0.0.1', 3128))
print('waiting', flush=True)
client.recv(1)
";
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| machine.python(script).ending());
        while !ran.is_finished() {
            let log = std::fs::read_to_string(machine.directory.0.join("log")).unwrap_or_default();
            if log.contains("waiting") {
                cancel.cancel();
            }
            std::thread::yield_now();
        }
        assert_eq!(ran.join().unwrap(), ExitReason::Cancelled);
    });
}
