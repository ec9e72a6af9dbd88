//! Attacks of a hostile app's build script.

use std::fs;
use std::os::unix::fs::symlink;

use carafe_builder::sandbox::{Isolation, Network};

use crate::fixture::{TestSandbox, contents};

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("has_no_privileges", has_no_privileges),
        ("cannot_see_this_machine", cannot_see_this_machine),
        ("inherits_no_open_files", inherits_no_open_files),
        ("cannot_change_the_kernel", cannot_change_the_kernel),
        ("cannot_make_namespaces_or_mounts", cannot_make_namespaces_or_mounts),
        ("cannot_make_denied_system_calls", cannot_make_denied_system_calls),
        ("cannot_inspect_the_init_process", cannot_inspect_the_init_process),
        ("links_in_the_rootfs_do_not_lead_outside", links_in_the_rootfs_do_not_lead_outside),
    ]
}

fn has_no_privileges() {
    let test = TestSandbox::new();
    let lines = test.sh("grep -E '^(Cap|NoNewPrivs|Groups)' /proc/self/status; ulimit -c").succeeded();
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(lines.contains(&format!("{name}:\t0000000000000000")), "{name}: {lines:?}");
    }
    assert!(lines.contains(&"NoNewPrivs:\t1".to_owned()), "{lines:?}");
    assert!(lines.contains(&"0".to_owned()), "{lines:?}");
    if rustix::process::geteuid().is_root() {
        assert!(lines.iter().any(|line| line.trim() == "Groups:"), "{lines:?}");
    }
}

fn cannot_see_this_machine() {
    let test = TestSandbox::new();
    let directory = test.directory.0.display();
    let script = format!(
        "ls -A / | tr '\\n' ' '; echo; ls /proc | grep -c '^[0-9]*$' ; cat {directory}/log 2>/dev/null; ls /proc/1/root 2>/dev/null; \
         ls -A /.. | tr '\\n' ' '; grep -c {directory} /proc/self/mountinfo; ls /tmp"
    );
    let lines = test.sh(&script).succeeded();
    assert!(
        lines[0]
            .split(' ')
            .all(|name| ["bin", "dev", "etc", "home", "lib", "lib64", "proc", "run", "tmp", "usr", ""]
                .contains(&name)),
        "{lines:?}"
    );
    let processes: u32 = lines[1].parse().unwrap();
    assert!(processes < 8, "{lines:?}");
}

fn inherits_no_open_files() {
    // Not close-on-exec, like a directory that a CI runner left open in Carafe.
    let leaked = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    for test in [TestSandbox::new(), TestSandbox::without_isolation()] {
        let lines =
            test.python("import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])").succeeded();
        assert_eq!(lines, ["[0, 1, 2]"]);
    }
}

/// For files like these, the kernel checks whether the user is root on the host, and no capability.
fn cannot_change_the_kernel() {
    let test = TestSandbox::new();
    let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let script = "
for file in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/sys/user/max_user_namespaces; do
    (echo 1 > $file) 2>/dev/null && echo wrote $file
done
head -c 1 /proc/kcore /proc/kpagecount 2>/dev/null | grep -v '==>' | wc -c
find /proc -maxdepth 1 -name '[a-z]*' -type f -writable ! -path '/proc/pressure/*' 2>/dev/null
true";
    let lines = test.sh(script).succeeded();
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
    assert!(lines.iter().all(|line| !line.starts_with("wrote")), "{lines:?}");
}

fn cannot_make_namespaces_or_mounts() {
    let test = TestSandbox::new();
    for command in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "mount -o remount,rw /usr",
        "hostname other",
    ] {
        let result = test.sh(&format!("mkdir -p /mnt; {command} 2>/dev/null"));
        assert!(result.result.is_err(), "`{command}` is possible");
    }
}

fn cannot_make_denied_system_calls() {
    let script = "
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
numbers = {'x86_64': [321, 425, 250], 'aarch64': [280, 425, 219]}[os.uname().machine]
for number in numbers:
    libc.syscall(number, 0, 0, 0, 0, 0)
    print(errno.errorcode[ctypes.get_errno()])
print(open('/proc/self/status').read().split('Seccomp:')[1].split()[0])
";
    for test in [TestSandbox::new(), TestSandbox::without_isolation()] {
        // bpf, io_uring_setup, keyctl; 2 is the mode of a seccomp filter.
        assert_eq!(test.python(script).succeeded(), ["EPERM", "EPERM", "EPERM", "2"]);
    }
}

fn cannot_inspect_the_init_process() {
    let test = TestSandbox::new();
    // The last path is of the step's own process and shows that the commands work.
    let script = "cat /proc/1/environ /proc/1/maps /proc/1/mem /proc/1/fd/* 2>/dev/null; ls -A /proc/1/root 2>/dev/null; \
                  for link in /proc/1/exe /proc/1/fd/*; do readlink $link; done; ls /proc/self/fd/1";
    assert_eq!(test.sh(script).succeeded(), ["/proc/self/fd/1"]);
}

fn links_in_the_rootfs_do_not_lead_outside() {
    let mut outside = std::path::PathBuf::new();
    let test = TestSandbox::with(Isolation::Namespaces, |config| {
        outside = config.scratch.parent().unwrap().join("outside");
        for name in ["home", "dev/shm", "proc", "tmp", "run"] {
            fs::create_dir_all(outside.join(name)).unwrap();
        }
        fs::write(outside.join("resolv.conf"), "outside").unwrap();
        let root = &config.root;
        for name in ["home", "dev", "proc", "tmp", "run"] {
            symlink(outside.join(name), root.join(name)).unwrap();
        }
        symlink(outside.join("resolv.conf"), root.join("etc/resolv.conf")).unwrap();
        symlink(outside.join("passwd"), root.join("etc/passwd")).unwrap();
    });
    let before = contents(&outside);
    // Such a rootfs may be unusable, but no file outside may change.
    let _ = test.run("echo x > /tmp/x; echo x > ~/x", |step| step.network = Network::None);
    assert!(contents(&outside) == before, "something outside changed");
}
