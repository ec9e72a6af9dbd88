//! A killed run leaves a cache that the next run can use, and no process.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::demo::Demo;

/// The processes that have this test's cache directory in their mounts: the sandbox's init process and
/// its descendants.
fn processes_of(cache: &Path) -> Vec<String> {
    let cache = cache.to_str().unwrap();
    let mine = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != mine)
        .filter(|pid| {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            mounts.contains(cache)
        })
        .collect()
}

fn wait_until_gone(cache: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !processes_of(cache).is_empty() {
        assert!(Instant::now() < deadline, "still running: {:?}", processes_of(cache));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn unfinished(cache: &Path) -> Vec<String> {
    let buckets = fs::read_dir(cache).unwrap().flatten();
    let entries = buckets.flat_map(|bucket| fs::read_dir(bucket.path()).into_iter().flatten().flatten());
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".scratch-")).collect()
}

#[test]
fn a_build_succeeds_after_ten_killed_ones() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let expected = demo.run(&["build", "--quiet", "--output", "image"]);
    let cache = demo.path("cache");
    fs::create_dir(&cache).unwrap();
    for round in 0..10u64 {
        let mut command = demo.carafe(&["build", "--quiet", "--output", "image"]);
        command.env("CARAFE_CACHE_DIR", &cache).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // From the start, when the cache is filled, to late in the build, and different in each run.
        let jitter = u64::from(std::process::id()) * 37 % 500;
        std::thread::sleep(Duration::from_millis(100 + round * round * 90 + jitter));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until_gone(&cache);
    }
    let mut command = demo.carafe(&["build", "--quiet", "--output", "image"]);
    command.env("CARAFE_CACHE_DIR", &cache);
    assert_eq!(crate::demo::succeed(&mut command), expected);
    assert_eq!(unfinished(&cache), [""; 0]);
}

#[test]
fn ctrl_c_ends_all_processes_and_removes_scratch_directories() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let cache = demo.path("cache");
    fs::create_dir(&cache).unwrap();
    let mut command = demo.carafe(&["build", "--quiet", "--output", "image"]);
    command.env("CARAFE_CACHE_DIR", &cache).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while processes_of(&cache).is_empty() {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "the sandbox was not started"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    crate::demo::succeed(std::process::Command::new("kill").args(["-INT", &pid]));
    assert_eq!(child.wait().unwrap().code(), Some(130));
    wait_until_gone(&cache);
    assert_eq!(unfinished(&cache), [""; 0]);
}
