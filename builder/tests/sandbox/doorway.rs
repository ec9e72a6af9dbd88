//! The one way out, with a doorkeeper that answers everything itself.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use carafe_builder::sandbox::{CancelToken, Doorkeeper, Doorway, Ending, Isolation, Network};

use crate::machine::Machine;

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("a_step_reaches_its_doorkeeper_and_nobody_else", a_step_reaches_its_doorkeeper_and_nobody_else),
        ("a_step_without_network_has_no_doorway", a_step_without_network_has_no_doorway),
        ("the_doorkeeper_stays_as_long_as_the_step", the_doorkeeper_stays_as_long_as_the_step),
        ("a_doorkeeper_that_is_silent_delays_no_end", a_doorkeeper_that_is_silent_delays_no_end),
    ]
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nof this door\n-----END CERTIFICATE-----\n";

/// Greets who connects, sends names back as they came, and counts whom it attends.
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

impl Doorkeeper for Porter {
    fn ca_certificate(&self) -> &str {
        CERTIFICATE
    }

    fn attend(&self, doorway: Doorway) -> Box<dyn Send> {
        assert!(std::fs::exists(format!("/proc/{}/net/tcp", doorway.process.as_raw_nonzero())).unwrap());
        self.attending.fetch_add(1, Ordering::SeqCst);
        self.attended.fetch_add(1, Ordering::SeqCst);
        let Doorway { proxy, names, .. } = doorway;
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
        self.threads.lock().unwrap().extend([greet, echo]);
        Box::new(Attendance(self.attending.clone()))
    }
}

fn with_porter() -> (Machine, Arc<Porter>) {
    let porter = Arc::new(Porter::default());
    let keeper = porter.clone();
    (Machine::made(Isolation::Namespaces, |config| config.doorkeeper = Some(keeper)), porter)
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
try:
    socket.create_connection(('192.0.2.1', 443), 20)
except OSError as error:
    print(error.strerror)
";

fn a_step_reaches_its_doorkeeper_and_nobody_else() {
    let (machine, porter) = with_porter();
    let lines = machine.python(ASK).well();
    assert_eq!(lines, ["welcome", "who", "of this door", "Network is unreachable"]);
    assert_eq!(porter.attending.load(Ordering::SeqCst), 0, "the step is over");
}

fn a_step_without_network_has_no_doorway() {
    let (machine, porter) = with_porter();
    let script = "env | grep -ci proxy; cat /etc/resolv.conf; true";
    assert_eq!(machine.run(script, |step| step.network = Network::None).well(), ["0"]);
    assert_eq!(porter.attended.load(Ordering::SeqCst), 0);
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
    impl Doorkeeper for Silent {
        fn ca_certificate(&self) -> &str {
            CERTIFICATE
        }
        fn attend(&self, doorway: Doorway) -> Box<dyn Send> {
            Box::new(doorway.proxy)
        }
    }
    let machine = Machine::made(Isolation::Namespaces, |config| config.doorkeeper = Some(Arc::new(Silent)));
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
            let log = std::fs::read_to_string(machine.folder.0.join("log")).unwrap_or_default();
            if log.contains("waiting") {
                cancel.cancel();
            }
            std::thread::yield_now();
        }
        assert_eq!(ran.join().unwrap(), Ending::Cancelled);
    });
}
