//! How a step ends, and that no process of it is left.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use carafe_builder::sandbox::{ExitReason, Isolation, Limits, SandboxError, SetupOperation};

use crate::fixture::{
    Directory, TIMEOUT, TOKEN, TestSandbox, is_running, launcher, process_with, unique_sleep,
    wait_until_gone, wait_until_running,
};

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("an_error_has_the_last_lines_of_output", an_error_has_the_last_lines_of_output),
        ("an_error_has_the_signal", an_error_has_the_signal),
        ("an_error_has_the_missing_path", an_error_has_the_missing_path),
        ("the_wall_clock_limit_ends_grandchildren", || wall_clock_limit(Isolation::Namespaces)),
        ("the_wall_clock_limit_applies_without_isolation", || wall_clock_limit(Isolation::None)),
        ("the_memory_limit_applies", || memory_limit(Isolation::Namespaces)),
        ("the_memory_limit_applies_without_isolation", || memory_limit(Isolation::None)),
        ("shared_memory_counts_once", shared_memory_counts_once),
        ("a_daemon_does_not_outlive_its_step", || daemons_end(Isolation::Namespaces)),
        ("a_daemon_does_not_outlive_its_step_without_isolation", || daemons_end(Isolation::None)),
        ("orphans_are_reaped", orphans_are_reaped),
        ("cancelling_ends_the_step_and_prevents_new_ones", || cancelling(Isolation::Namespaces)),
        ("cancelling_works_without_isolation", || cancelling(Isolation::None)),
        ("no_process_outlives_a_killed_carafe", || killed_carafe(Isolation::Namespaces)),
        ("no_process_outlives_a_killed_carafe_without_isolation", || killed_carafe(Isolation::None)),
        ("no_process_outlives_a_killed_launcher", killed_launcher),
        ("an_unreadable_directory_can_be_removed", an_unreadable_directory_can_be_removed),
    ]
}

fn an_error_has_the_last_lines_of_output() {
    let test = TestSandbox::new();
    let result = test.sh(&format!("seq 100; echo token {TOKEN} >&2; exit 7"));
    let error = result.failed();
    assert_eq!((error.reason, error.tail.len()), (ExitReason::Exit(7), 20));
    assert_eq!(error.tail[18..], ["100", "token ***"]);
    assert_eq!(error.log, test.directory.0.join("log"));
    let text = format!("{:?}", miette::Report::new(error));
    for part in ["step `test`", "exit status 7", "token ***", "the complete log"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}

fn an_error_has_the_signal() {
    let test = TestSandbox::new();
    let error = test.sh("kill -KILL $$").failed();
    assert_eq!(error.reason, ExitReason::Signal(9));
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("out of memory"), "{help}");
    // A step can kill neither the init process nor its process group.
    assert_eq!(
        test.sh("kill -KILL 1; kill -TERM 1; echo alive; kill -KILL 0").exit_reason(),
        ExitReason::Signal(9)
    );
}

fn an_error_has_the_missing_path() {
    let test = TestSandbox::new();
    let operation = |result: crate::fixture::StepResult| match result.result {
        Err(SandboxError::Setup { operation, .. }) => operation,
        other => panic!("{other:?}"),
    };
    let absent = test.run("", |step| step.argv = vec!["no-such-program".into()]);
    assert_eq!(operation(absent), SetupOperation::Exec { program: "no-such-program".into() });
    let nowhere = operation(test.run("", |step| step.cwd = "/no/such/directory".into()));
    assert_eq!(nowhere.to_string(), "failed to enter `/no/such/directory`");
}

fn wall_clock_limit(isolation: Isolation) {
    let test = TestSandbox::with(isolation, |_| {});
    let sleep = unique_sleep();
    let limit = Duration::from_millis(700);
    // A grandchild in a session of its own that ignores the signals that can be ignored.
    let script =
        format!("setsid sh -c \"trap '' TERM HUP INT; sleep {sleep}; sleep {sleep}\" & sleep {sleep}");
    let result = test.run(&script, |step| step.limits.wall_clock = limit);
    assert_eq!(result.exit_reason(), ExitReason::WallClockLimit(limit));
    assert!(!is_running(&sleep));
}

fn memory_limit(isolation: Isolation) {
    const LIMIT: u64 = 64 << 20;
    let test = TestSandbox::with(isolation, |_| {});
    let sleep = unique_sleep();
    let script = format!(
        "import subprocess, time; subprocess.Popen(['sleep', '{sleep}']); data = b'x' * (200 << 20); time.sleep(600)"
    );
    let result = test.run("", |step| {
        step.argv = ["/usr/bin/python3", "-c", &script].map(str::to_owned).into();
        step.limits.memory = Some(LIMIT);
    });
    let error = result.failed();
    assert!(
        matches!(error.reason, ExitReason::MemoryLimit { limit: LIMIT, seen } if seen > LIMIT),
        "{error}"
    );
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("[build] memory"), "{help}");
    assert!(!is_running(&sleep));
}

fn shared_memory_counts_once() {
    const SHARED: u64 = 100 << 20;
    let test = TestSandbox::new();
    let script = format!(
        "
import os, time
data = b'x' * {SHARED}
for _ in range(5):
    if os.fork() == 0:
        time.sleep(600)
time.sleep(1)
"
    );
    let result = test.run("", |step| {
        step.argv = ["/usr/bin/python3", "-c", &script].map(str::to_owned).into();
        step.limits.memory = Some(3 * SHARED);
    });
    let peak = result.result.unwrap().peak_memory;
    assert!((SHARED..3 * SHARED).contains(&peak), "{peak}");
}

fn daemons_end(isolation: Isolation) {
    let test = TestSandbox::with(isolation, |_| {});
    let sleep = unique_sleep();
    // It also keeps the output open: waiting for the end of the output would take ten minutes.
    let script = format!("(setsid sh -c 'sleep {sleep}' &); (setsid setsid sleep {sleep} &); echo done");
    assert_eq!(test.sh(&script).succeeded(), ["done"]);
    assert!(!is_running(&sleep));
}

fn orphans_are_reaped() {
    let test = TestSandbox::new();
    let script = "
import os, time
for _ in range(50):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
def zombies():
    found = 0
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            found += open(f'/proc/{pid}/stat').read().rsplit(')')[1].split()[0] == 'Z'
        except OSError:
            pass
    return found
while zombies():
    time.sleep(0.05)
print('none')
";
    assert_eq!(test.python(script).succeeded(), ["none"]);
}

fn cancelling(isolation: Isolation) {
    let test = TestSandbox::with(isolation, |_| {});
    let sleep = unique_sleep();
    let cancel = test.cancel.clone();
    let marker = sleep.clone();
    let other = std::thread::spawn(move || {
        wait_until_running(&marker);
        cancel.cancel();
    });
    assert_eq!(test.sh(&format!("sleep {sleep}; true")).exit_reason(), ExitReason::Cancelled);
    other.join().unwrap();
    assert!(!is_running(&sleep));
    assert_eq!(test.sh("true").exit_reason(), ExitReason::Cancelled);
}

const VICTIM: &str = "__victim";

/// Runs a step that does not end, if this process was started for it.
pub fn run_victim() -> Option<ExitCode> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [VICTIM, isolation, sleep] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let isolation = match isolation {
        "none" => Isolation::None,
        "namespaces" => Isolation::Namespaces,
        other => panic!("{other}"),
    };
    let test = TestSandbox::with(isolation, |_| {});
    println!("{}", test.directory.0.display());
    let limits = Limits { wall_clock: TIMEOUT * 10, memory: None };
    let script = format!("setsid sleep {sleep} & sleep {sleep}; true");
    test.run(&script, |step| step.limits = limits).succeeded();
    Some(ExitCode::SUCCESS)
}

fn killed_carafe(isolation: Isolation) {
    use std::io::{BufRead, BufReader};
    let sleep = unique_sleep();
    let mut victim = Command::new(launcher())
        .args([VICTIM, isolation.name(), &sleep])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let _directory = Directory(line.trim().into());
    wait_until_running(&format!("sleep\0{sleep}"));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until_gone(&sleep);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(line.trim()), "{mounts}");
}

fn killed_launcher() {
    let test = TestSandbox::new();
    let sleep = unique_sleep();
    let marker = format!("sleep\0{sleep}");
    let other = std::thread::spawn({
        let marker = marker.clone();
        move || {
            wait_until_running(&marker);
            let mut pid = process_with(&marker).unwrap();
            while let Some(parent) = parent_of(pid).filter(|parent| *parent != std::process::id()) {
                pid = parent;
            }
            let launcher = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
        }
    });
    assert_eq!(test.sh(&format!("sleep {sleep}; true")).exit_reason(), ExitReason::Lost);
    other.join().unwrap();
    wait_until_gone(&marker);
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn an_unreadable_directory_can_be_removed() {
    let test = TestSandbox::new();
    test.sh("mkdir -p /opt/a/b && touch /opt/a/b/c && chmod 000 /opt/a/b/c /opt/a/b /opt/a; chmod 500 /tmp")
        .succeeded();
    let directory = test.directory.0.clone();
    drop(test);
    assert!(!Path::exists(&directory));
}
