//! What is visible in a step, and what it may do.

use std::fs;
use std::path::Path;

use carafe_builder::sandbox::{Bind, ExitReason, InjectedFile, Isolation, Network};

use crate::fixture::{TOKEN, TestSandbox, contents};

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("is_user_1000_with_an_account_and_a_home", is_user_1000_with_an_account_and_a_home),
        ("keeps_an_account_of_the_rootfs", keeps_an_account_of_the_rootfs),
        ("does_not_write_to_the_rootfs", does_not_write_to_the_rootfs),
        ("later_steps_see_the_files_of_earlier_ones", later_steps_see_the_files_of_earlier_ones),
        (
            "bind_mounts_are_visible_and_read_only_or_writable",
            bind_mounts_are_visible_and_read_only_or_writable,
        ),
        ("injected_files_are_in_every_step_and_read_only", injected_files_are_in_every_step_and_read_only),
        ("the_environment_is_fixed", the_environment_is_fixed),
        ("has_devices_and_shared_memory", has_devices_and_shared_memory),
        ("a_broken_pipe_ends_the_writer", a_broken_pipe_ends_the_writer),
        ("python_can_create_process_pools", python_can_create_process_pools),
        ("has_no_input_and_no_terminal", has_no_input_and_no_terminal),
        ("has_only_its_own_loopback", has_only_its_own_loopback),
        ("output_is_in_order_and_redacted", output_is_in_order_and_redacted),
        ("runs_on_this_machine_without_isolation", runs_on_this_machine_without_isolation),
    ]
}

fn is_user_1000_with_an_account_and_a_home() {
    let test = TestSandbox::new();
    let script = "id -u; id -g; id -un; hostname; umask; touch ~/mine && echo ~; stat -c %u:%g ~/mine /etc";
    let lines = test.sh(script).succeeded();
    assert_eq!(lines, ["1000", "1000", "frappe", "carafe", "0022", "/home/frappe", "1000:1000", "1000:1000"]);
}

fn keeps_an_account_of_the_rootfs() {
    let test = TestSandbox::with(Isolation::Namespaces, |config| {
        fs::write(config.root.join("etc/passwd"), "ubuntu:x:1000:1000::/home/ubuntu:/bin/sh").unwrap();
    });
    assert_eq!(test.sh("id -un; id -gn; cat /etc/passwd").succeeded()[..2], ["ubuntu", "frappe"]);
}

fn does_not_write_to_the_rootfs() {
    let test = TestSandbox::new();
    let root = test.directory.0.join("root");
    let before = contents(&root);
    let script =
        "echo new > /etc/issue; mkdir -p /opt/a && echo b > /opt/a/b; rm /bin; echo t > /tmp/t; mv /etc /cte";
    test.sh(script).succeeded();
    assert!(contents(&root) == before, "the rootfs changed");
    let read = |inside: &str| fs::read_to_string(test.sandbox.host_path(Path::new(inside))).unwrap();
    assert_eq!(read("/opt/a/b"), "b\n");
    assert_eq!(read("/cte/issue"), "new\n");
    assert_eq!(read("/tmp/t"), "t\n");
}

fn later_steps_see_the_files_of_earlier_ones() {
    let test = TestSandbox::new();
    test.sh("echo one > /first; echo two > /tmp/second; echo three > /dev/shm/third").succeeded();
    assert_eq!(test.sh("cat /first /tmp/second; ls /dev/shm").succeeded(), ["one", "two"]);
}

fn bind_mounts_are_visible_and_read_only_or_writable() {
    let mut outside = std::path::PathBuf::new();
    let test = TestSandbox::with(Isolation::Namespaces, |config| {
        // A directory whose name has characters that end a mount option.
        outside = config.scratch.parent().unwrap().join("a,b:c\\d");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "x\n").unwrap();
        let bind = |source: &Path, target: &str, writable| Bind {
            source: source.to_owned(),
            target: target.into(),
            writable,
        };
        config.binds.push(bind(&outside, "/mnt/read", false));
        config.binds.push(bind(&outside, "/mnt/write", true));
        config.binds.push(bind(&outside.join("file"), "/mnt/single", false));
    });
    let script = "cat /mnt/read/file /mnt/single; (echo y > /mnt/read/no) 2>/dev/null || echo refused; \
                  (echo y > /mnt/single) 2>/dev/null || echo refused; echo y > /mnt/write/yes";
    assert_eq!(test.sh(script).succeeded(), ["x", "x", "refused", "refused"]);
    let yes = test.sandbox.host_path(Path::new("/mnt/write/yes"));
    assert_eq!((yes.as_path(), fs::read_to_string(&yes).unwrap()), (&*outside.join("yes"), "y\n".to_owned()));
    assert_eq!(test.sandbox.host_path(Path::new("/mnt/single")), outside.join("file"));
}

fn injected_files_are_in_every_step_and_read_only() {
    let test = TestSandbox::with(Isolation::Namespaces, |config| {
        let file = |path: &str, mode| InjectedFile {
            path: path.into(),
            content: b"#!/bin/sh\necho me\n".into(),
            mode,
        };
        config.files = vec![file("/opt/bin/me", 0o755), file("/etc/issue", 0o640)];
    });
    let script = "/opt/bin/me; sh /etc/issue; stat -c %a /etc/issue; \
                  { echo echo you > /etc/issue || rm -f /etc/issue; } 2>/dev/null || echo stays; sh /etc/issue";
    assert_eq!(test.sh(script).succeeded(), ["me", "me", "640", "stays", "me"]);
    assert_eq!(test.sh(script).succeeded(), ["me", "me", "640", "stays", "me"]);
}

fn the_environment_is_fixed() {
    let test = TestSandbox::with(Isolation::Namespaces, |config| {
        config.env.insert("PATH".into(), "/opt/bin:/usr/bin".into());
        config.env.insert("FROM".into(), "sandbox".into());
        config.env.insert("LANG".into(), "C".into());
    });
    let result = test.run("env", |step| {
        step.network = Network::None;
        step.env.insert("FROM".into(), "step".into());
    });
    let lines = result.succeeded();
    for expected in
        ["FROM=step", "HOME=/home/frappe", "LANG=C", "LC_ALL=C.UTF-8", "PATH=/opt/bin:/usr/bin", "TZ=UTC"]
    {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:?}");
    }
    // cargo sets variables for a test, and a shell many others; only these may be visible.
    let ours = ["FROM", "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "SHLVL", "TZ", "USER", "_"];
    for line in &lines {
        let name = line.split('=').next().unwrap();
        assert!(ours.contains(&name), "{line} leaks in");
    }
    let own =
        test.sh("cat /proc/self/environ /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c CARGO; true");
    assert_eq!(own.succeeded(), ["0"]);
}

fn has_devices_and_shared_memory() {
    let test = TestSandbox::new();
    let script = "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; \
                  echo y > /dev/shm/y; cat /dev/shm/y; echo z | cat /dev/stdin; ls /dev/fd/1; echo out > /dev/stderr; \
                  (echo > /dev/full) 2>/dev/null || echo full";
    assert_eq!(test.sh(script).succeeded(), ["3", "3", "y", "z", "/dev/fd/1", "out", "full"]);
}

/// Rust ignores SIGPIPE, which a child inherits unless it is reset.
fn a_broken_pipe_ends_the_writer() {
    let test = TestSandbox::new();
    assert_eq!(
        test.sh("{ yes; echo $? > /tmp/status; } | head -1; cat /tmp/status").succeeded(),
        ["y", "141"]
    );
}

fn python_can_create_process_pools() {
    let test = TestSandbox::new();
    let script = "
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Lock, get_context
Lock()
with ProcessPoolExecutor(2, mp_context=get_context('fork')) as pool:
    print(sum(pool.map(abs, range(-10, 10))))
";
    assert_eq!(test.python(script).succeeded(), ["100"]);
}

fn has_no_input_and_no_terminal() {
    let test = TestSandbox::new();
    let script = "wc -c; readlink /proc/self/fd/0; (: < /dev/tty) 2>/dev/null || echo no terminal";
    assert_eq!(test.sh(script).succeeded(), ["0", "/dev/null", "no terminal"]);
}

fn has_only_its_own_loopback() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let test = TestSandbox::new();
    let script = format!(
        "
import socket
def reach(address):
    try:
        socket.create_connection(address, 20).close()
        print('reached')
    except OSError as error:
        print(error.strerror)
reach(('127.0.0.1', {port}))
own = socket.create_server(('127.0.0.1', 0))
reach(own.getsockname())
reach(('192.0.2.1', 80))
print(socket.gethostbyname('localhost'))
"
    );
    let without_network = |step: &mut carafe_builder::sandbox::Step| {
        step.argv = ["/usr/bin/python3", "-c", &script].map(str::to_owned).into();
        step.network = Network::None;
    };
    let lines = test.run("", without_network).succeeded();
    assert_eq!(lines, ["Connection refused", "reached", "Network is unreachable", "127.0.0.1"]);
}

fn output_is_in_order_and_redacted() {
    let test = TestSandbox::new();
    let script =
        format!("echo 1; echo 2 >&2; echo 3 {TOKEN} x; printf '\\033[31m4\\033[0m\\rfour\\n'; printf last");
    let result = test.sh(&script);
    assert_eq!(result.log, "1\n2\n3 *** x\nfour\nlast\n");
    assert_eq!(result.succeeded(), ["1", "2", "3 *** x", "four", "last"]);
    let again = test.sh("echo more; exit 3");
    assert!(again.log.starts_with("1\n") && again.log.ends_with("last\nmore\n"), "{}", again.log);
    assert_eq!(again.exit_reason(), ExitReason::Exit(3));
}

fn runs_on_this_machine_without_isolation() {
    let test = TestSandbox::without_isolation();
    let lines =
        test.sh("id -u; echo $TZ; env | grep -c CARGO; wc -c; grep NoNewPrivs /proc/self/status").succeeded();
    assert_eq!(lines[0], rustix::process::geteuid().as_raw().to_string());
    assert_eq!(lines[1..], ["UTC", "0", "0", "NoNewPrivs:\t1"]);
    let path = test.directory.0.join("here");
    test.sh(&format!("echo here > {}", path.display())).succeeded();
    assert_eq!(fs::read_to_string(test.sandbox.host_path(&path)).unwrap(), "here\n");
}
