//! How a step ends, and that nothing of it is left then.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use carafe_builder::sandbox::{ExitReason, Isolation, Limits, SandboxError, Setup};

use crate::machine::{
    Directory, Machine, PATIENCE, TOKEN, is_running, launcher, process_with, unique_sleep, wait_until_gone,
    wait_until_running,
};

pub fn trials() -> Vec<(&'static str, fn())> {
    vec![
        ("a_failure_says_what_was_said_last", a_failure_says_what_was_said_last),
        ("a_signal_is_named", a_signal_is_named),
        ("what_is_not_there_is_named", what_is_not_there_is_named),
        ("time_runs_out_for_grandchildren_too", || time_runs_out(Isolation::Namespaces)),
        ("time_runs_out_in_place", || time_runs_out(Isolation::None)),
        ("memory_runs_out", || memory_runs_out(Isolation::Namespaces)),
        ("memory_runs_out_in_place", || memory_runs_out(Isolation::None)),
        ("memory_is_summed_without_what_is_shared", memory_is_summed_without_what_is_shared),
        ("a_daemon_does_not_outlive_its_step", || daemons_end(Isolation::Namespaces)),
        ("a_daemon_does_not_outlive_its_step_in_place", || daemons_end(Isolation::None)),
        ("orphans_are_reaped", orphans_are_reaped),
        ("cancelling_ends_what_runs_and_lets_nothing_start", || cancelling(Isolation::Namespaces)),
        ("cancelling_in_place", || cancelling(Isolation::None)),
        ("killed_carafe_leaves_nothing", || killed_carafe_leaves_nothing(Isolation::Namespaces)),
        ("killed_carafe_leaves_nothing_in_place", || killed_carafe_leaves_nothing(Isolation::None)),
        ("a_launcher_killed_from_outside_takes_all_with_it", a_launcher_killed_from_outside),
        ("what_a_build_made_unreadable_can_be_removed", what_a_build_made_unreadable_can_be_removed),
    ]
}

fn a_failure_says_what_was_said_last() {
    let machine = Machine::new();
    let ran = machine.sh(&format!("seq 100; echo token {TOKEN} >&2; exit 7"));
    let error = ran.badly();
    assert_eq!((error.ending, error.tail.len()), (ExitReason::Exit(7), 20));
    assert_eq!(error.tail[18..], ["100", "token ***"]);
    assert_eq!(error.log, machine.directory.0.join("log"));
    let text = format!("{:?}", miette::Report::new(error));
    for part in ["step `try`", "exit status 7", "token ***", "the whole log"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}

fn a_signal_is_named() {
    let machine = Machine::new();
    let error = machine.sh("kill -KILL $$").badly();
    assert_eq!(error.ending, ExitReason::Signal(9));
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("out of memory"), "{help}");
    // Neither the first process nor the group it was started from is the step's to kill.
    assert_eq!(
        machine.sh("kill -KILL 1; kill -TERM 1; echo alive; kill -KILL 0").ending(),
        ExitReason::Signal(9)
    );
}

fn what_is_not_there_is_named() {
    let machine = Machine::new();
    let setup = |ran: crate::machine::Ran| match ran.result {
        Err(SandboxError::Setup { setup, .. }) => setup,
        other => panic!("{other:?}"),
    };
    let absent = machine.run("", |step| step.argv = vec!["no-such-program".into()]);
    assert_eq!(setup(absent), Setup::Exec { program: "no-such-program".into() });
    let nowhere = setup(machine.run("", |step| step.cwd = "/no/such/directory".into()));
    assert_eq!(nowhere.to_string(), "failed to enter `/no/such/directory`");
}

fn time_runs_out(isolation: Isolation) {
    let machine = Machine::made(isolation, |_| {});
    let sleep = unique_sleep();
    let wall = Duration::from_millis(700);
    // A grandchild in a session of its own, deaf to polite signals.
    let script =
        format!("setsid sh -c \"trap '' TERM HUP INT; sleep {sleep}; sleep {sleep}\" & sleep {sleep}");
    let ran = machine.run(&script, |step| step.limits.wall = wall);
    assert_eq!(ran.ending(), ExitReason::WallLimit(wall));
    assert!(!is_running(&sleep));
}

fn memory_runs_out(isolation: Isolation) {
    const LIMIT: u64 = 64 << 20;
    let machine = Machine::made(isolation, |_| {});
    let sleep = unique_sleep();
    let script = format!(
        "import subprocess, time; subprocess.Popen(['sleep', '{sleep}']); held = b'x' * (200 << 20); time.sleep(600)"
    );
    let ran = machine.run("", |step| {
        step.argv = ["/usr/bin/python3", "-c", &script].map(str::to_owned).into();
        step.limits.memory = Some(LIMIT);
    });
    let error = ran.badly();
    assert!(
        matches!(error.ending, ExitReason::MemoryLimit { limit: LIMIT, seen } if seen > LIMIT),
        "{error}"
    );
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("[build] memory"), "{help}");
    assert!(!is_running(&sleep));
}

fn memory_is_summed_without_what_is_shared() {
    const HELD: u64 = 100 << 20;
    let machine = Machine::new();
    let script = format!(
        "
import os, time
held = b'x' * {HELD}
for _ in range(5):
    if os.fork() == 0:
        time.sleep(600)
time.sleep(1)
"
    );
    let ran = machine.run("", |step| {
        step.argv = ["/usr/bin/python3", "-c", &script].map(str::to_owned).into();
        step.limits.memory = Some(3 * HELD);
    });
    let peak = ran.result.unwrap().peak_memory;
    assert!((HELD..3 * HELD).contains(&peak), "{peak}");
}

fn daemons_end(isolation: Isolation) {
    let machine = Machine::made(isolation, |_| {});
    let sleep = unique_sleep();
    // It keeps the output open, too: waiting for its end would take ten minutes.
    let script = format!("(setsid sh -c 'sleep {sleep}' &); (setsid setsid sleep {sleep} &); echo done");
    assert_eq!(machine.sh(&script).well(), ["done"]);
    assert!(!is_running(&sleep));
}

fn orphans_are_reaped() {
    let machine = Machine::new();
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
    assert_eq!(machine.python(script).well(), ["none"]);
}

fn cancelling(isolation: Isolation) {
    let machine = Machine::made(isolation, |_| {});
    let sleep = unique_sleep();
    let cancel = machine.cancel.clone();
    let marker = sleep.clone();
    let other = std::thread::spawn(move || {
        wait_until_running(&marker);
        cancel.cancel();
    });
    assert_eq!(machine.sh(&format!("sleep {sleep}; true")).ending(), ExitReason::Cancelled);
    other.join().unwrap();
    assert!(!is_running(&sleep));
    assert_eq!(machine.sh("true").ending(), ExitReason::Cancelled);
}

const VICTIM: &str = "__victim";

/// Runs a step that has to be killed, if this process was started for it.
pub fn is_victim() -> Option<ExitCode> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [VICTIM, isolation, sleep] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        return None;
    };
    let isolation = if isolation == "None" { Isolation::None } else { Isolation::Namespaces };
    let machine = Machine::made(isolation, |_| {});
    println!("{}", machine.directory.0.display());
    let limits = Limits { wall: PATIENCE * 10, memory: None };
    let script = format!("setsid sleep {sleep} & sleep {sleep}; true");
    machine.run(&script, |step| step.limits = limits).well();
    Some(ExitCode::SUCCESS)
}

fn killed_carafe_leaves_nothing(isolation: Isolation) {
    use std::io::{BufRead, BufReader};
    let sleep = unique_sleep();
    let mut victim = Command::new(launcher())
        .args([VICTIM, &format!("{isolation:?}"), &sleep])
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

fn a_launcher_killed_from_outside() {
    let machine = Machine::new();
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
    assert_eq!(machine.sh(&format!("sleep {sleep}; true")).ending(), ExitReason::Lost);
    other.join().unwrap();
    wait_until_gone(&marker);
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn what_a_build_made_unreadable_can_be_removed() {
    let machine = Machine::new();
    machine
        .sh("mkdir -p /opt/a/b && touch /opt/a/b/c && chmod 000 /opt/a/b/c /opt/a/b /opt/a; chmod 500 /tmp")
        .well();
    let directory = machine.directory.0.clone();
    drop(machine);
    assert!(!Path::exists(&directory));
}
