//! The sockets of the egress proxy, with a proxy for tests and with the real one.

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
    BYPASS_PORTS, CancelToken, ExitReason, Isolation, Network, ProxyHandle, ProxySockets,
};
use carafe_builder::secret::Redactor;

use crate::fixture::TestSandbox;

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("a_step_reaches_only_its_egress_proxy", a_step_reaches_only_its_egress_proxy),
        ("a_step_without_network_has_no_proxy_sockets", a_step_without_network_has_no_proxy_sockets),
        (
            "a_bypass_is_denied_and_reported_with_its_process",
            a_bypass_is_denied_and_reported_with_its_process,
        ),
        ("a_step_can_connect_to_its_own_servers", a_step_can_connect_to_its_own_servers),
        ("every_step_is_served", every_step_is_served),
        ("a_silent_proxy_does_not_delay_cancelling", a_silent_proxy_does_not_delay_cancelling),
    ]
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nof this proxy\n-----END CERTIFICATE-----\n";

/// Sends a greeting to a client, echoes a DNS query, sends its destination to a client that bypasses
/// it, and counts the steps that it serves.
#[derive(Default)]
struct TestProxy {
    active: Arc<AtomicUsize>,
    served: AtomicUsize,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

/// Decrements the count of active steps when dropped.
struct ActiveStep(Arc<AtomicUsize>);

impl Drop for ActiveStep {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ProxyHandle for TestProxy {
    fn ca_certificate(&self) -> &str {
        CERTIFICATE
    }

    fn serve(&self, sockets: ProxySockets) -> Box<dyn Send> {
        assert!(std::fs::exists(format!("/proc/{}/net/tcp", sockets.process.as_raw_nonzero())).unwrap());
        self.active.fetch_add(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::SeqCst);
        let ProxySockets { proxy, dns, mut bypass, .. } = sockets;
        let greet = std::thread::spawn(move || {
            let (mut client, _) = proxy.accept().unwrap();
            let mut request = [0; 4];
            client.read_exact(&mut request).unwrap();
            client.write_all(b"welcome").unwrap();
        });
        let echo = std::thread::spawn(move || {
            let mut name = [0; 64];
            let (length, from) = dns.recv_from(&mut name).unwrap();
            dns.send_to(&name[..length], from).unwrap();
        });
        let https = BYPASS_PORTS.iter().position(|port| *port == 443).unwrap();
        let https = bypass.swap_remove(https);
        let report = std::thread::spawn(move || {
            let (mut client, _) = https.accept().unwrap();
            let destination = client.local_addr().unwrap();
            client
                .write_all(format!("{}:{}", destination.ip().to_canonical(), destination.port()).as_bytes())
                .unwrap();
        });
        self.threads.lock().unwrap().extend([greet, echo, report]);
        Box::new(ActiveStep(self.active.clone()))
    }
}

fn with_test_proxy() -> (TestSandbox, Arc<TestProxy>) {
    let proxy = Arc::new(TestProxy::default());
    let handle = proxy.clone();
    (TestSandbox::with(Isolation::Namespaces, |config| config.proxy = Some(handle)), proxy)
}

const CLIENT: &str = "
import os, socket
from urllib.parse import urlsplit
proxy = urlsplit(os.environ['https_proxy'])
client = socket.create_connection((proxy.hostname, proxy.port))
client.sendall(b'open')
print(client.recv(7).decode())
name = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server = open('/etc/resolv.conf').read().split()[1]
name.sendto(b'dns', (server, 53))
print(name.recv(3).decode())
print(open(os.environ['SSL_CERT_FILE']).read().split('\\n')[1])
print(socket.create_connection(('192.0.2.1', 443), 20).makefile().read())
try:
    socket.create_connection(('192.0.2.1', 8443), 20)
except OSError as error:
    print(error.strerror)
";

fn a_step_reaches_only_its_egress_proxy() {
    let (test, proxy) = with_test_proxy();
    let lines = test.python(CLIENT).succeeded();
    assert_eq!(lines, ["welcome", "dns", "of this proxy", "192.0.2.1:443", "Connection refused"]);
    assert_eq!(proxy.active.load(Ordering::SeqCst), 0, "the step is over");
}

fn a_step_without_network_has_no_proxy_sockets() {
    let (test, proxy) = with_test_proxy();
    let script = "env | grep -ci proxy; cat /etc/resolv.conf; /usr/bin/python3 -c '
import socket
print(socket.socket().connect_ex((\"192.0.2.1\", 443)))'";
    let unreachable = rustix::io::Errno::NETUNREACH.raw_os_error().to_string();
    assert_eq!(test.run(script, |step| step.network = Network::None).succeeded(), ["0", &unreachable]);
    assert_eq!(proxy.served.load(Ordering::SeqCst), 0);
}

/// A sandbox with an egress proxy that replays an empty recording, and the proxy.
fn with_egress_proxy() -> (TestSandbox, Arc<EgressProxy>) {
    let mut opened = None;
    let test = TestSandbox::with(Isolation::Namespaces, |config| {
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
    (test, opened.unwrap())
}

fn a_bypass_is_denied_and_reported_with_its_process() {
    const BYPASS: &str = "
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
    let (test, proxy) = with_egress_proxy();
    const RESET: &str = "Connection reset by peer";
    let lines = test.python(BYPASS).succeeded();
    let expected = ["no such name", RESET, RESET, RESET, "Connection refused", RESET];
    assert_eq!(lines.len(), expected.len());
    // With IPv6 turned off, the kernel returns another error.
    let is_v6 = lines[3] == RESET || TcpListener::bind("[::1]:0").is_ok();
    for (at, (line, expected)) in lines.iter().zip(expected).enumerate() {
        assert!(line == expected || (at == 3 && !is_v6), "{at}: {line}");
    }
    let Some(EgressError::Blocked { requests: blocked }) = proxy.explain_failure() else {
        panic!("nothing was blocked")
    };
    let mut expected = vec!["DNS telemetry.test", "TCP 192.0.2.1:443", "TCP 192.0.2.2:80"];
    expected.extend(is_v6.then_some("TCP [2001:db8::1]:22"));
    let shown = |request: &BlockedRequest| format!("{} {}", request.method, request.url);
    assert_eq!(blocked.iter().map(shown).collect::<Vec<_>>(), expected);
    for request in blocked {
        assert_eq!(request.reason, BlockReason::Bypass);
        let peer = request.peer.unwrap();
        assert!(peer.command.starts_with("/usr/bin/python3 -c"), "{peer}");
    }
}

fn a_step_can_connect_to_its_own_servers() {
    const SERVER: &str = "
import socket
for address in '127.0.0.1', '0.0.0.0':
    server = socket.create_server((address, 0))
    client = socket.create_connection(('127.0.0.1', server.getsockname()[1]))
    there, (host, port) = server.accept()
    there.sendall(b'hello')
    print(client.recv(5).decode(), host)
print(socket.socket().connect_ex(('127.0.0.1', 9)))
";
    let (test, proxy) = with_egress_proxy();
    let refused = rustix::io::Errno::CONNREFUSED.raw_os_error().to_string();
    assert_eq!(test.python(SERVER).succeeded(), ["hello 127.0.0.1", "hello 127.0.0.1", &refused]);
    assert!(proxy.explain_failure().is_none());
}

fn every_step_is_served() {
    let (test, proxy) = with_test_proxy();
    for expected in 1..3 {
        test.python(CLIENT).succeeded();
        assert_eq!(proxy.served.load(Ordering::SeqCst), expected);
    }
    let threads = std::mem::take(&mut *proxy.threads.lock().unwrap());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn a_silent_proxy_does_not_delay_cancelling() {
    struct Silent;
    impl ProxyHandle for Silent {
        fn ca_certificate(&self) -> &str {
            CERTIFICATE
        }
        fn serve(&self, sockets: ProxySockets) -> Box<dyn Send> {
            Box::new(sockets.proxy)
        }
    }
    let test = TestSandbox::with(Isolation::Namespaces, |config| config.proxy = Some(Arc::new(Silent)));
    let cancel: CancelToken = test.cancel.clone();
    let script = "
import socket, sys
client = socket.create_connection(('127.0.0.1', 3128))
print('waiting', flush=True)
client.recv(1)
";
    std::thread::scope(|scope| {
        let step = scope.spawn(|| test.python(script).exit_reason());
        while !step.is_finished() {
            let log = std::fs::read_to_string(test.directory.0.join("log")).unwrap_or_default();
            if log.contains("waiting") {
                cancel.cancel();
            }
            std::thread::yield_now();
        }
        assert_eq!(step.join().unwrap(), ExitReason::Cancelled);
    });
}
