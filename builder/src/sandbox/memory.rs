//! Memory: how much a step's processes use, and how much this process may use.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use rustix::process::Pid;

/// All processes that descend from `ancestor`, without `ancestor` itself.
pub(super) fn descendants(ancestor: Pid) -> Vec<Pid> {
    let mut children = HashMap::<Pid, Vec<Pid>>::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Ok(stat) = fs::read_to_string(entry.path().join("stat"))
            && let Some(parent) = parent_in(&stat)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut pending = vec![ancestor];
    while let Some(pid) = pending.pop() {
        let new = children.remove(&pid).unwrap_or_default();
        pending.extend(new.iter().copied());
        found.extend(new);
    }
    found
}

/// The parent's id from `/proc/<pid>/stat`: the second field after the program's name, which may
/// contain spaces and parentheses.
fn parent_in(stat: &str) -> Option<Pid> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok().and_then(Pid::from_raw)
}

/// The memory that these processes use together, in bytes. Shared pages count once (PSS).
///
/// PSS is never above RSS, and the kernel takes longer to compute it. So it is read only if the sum
/// of RSS is above `floor`; otherwise that sum is returned.
pub(super) fn used_by(processes: &[Pid], floor: u64) -> u64 {
    let resident: u64 = processes.iter().filter_map(|pid| resident(*pid)).sum();
    if resident <= floor {
        return resident;
    }
    processes.iter().filter_map(|pid| proportional(*pid).or_else(|| self::resident(*pid))).sum()
}

fn resident(pid: Pid) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

fn proportional(pid: Pid) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// The value of a line such as `Pss:   12 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// The memory that this process may use, in bytes: this machine's, or the lower limit of a cgroup
/// (version 1 or 2) that it is in. It determines the size of node's heap.
pub fn usable_memory() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let total = kibibytes(&read("/proc/meminfo"), "MemTotal:").unwrap_or(u64::MAX);
    let limit = cgroup_limit(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"));
    limit.map_or(total, |limit| limit.min(total))
}

/// The lowest limit of the cgroups that `membership` (`/proc/self/cgroup`) names below `mount`, and
/// of their ancestors.
fn cgroup_limit(mount: &Path, membership: &str) -> Option<u64> {
    let lines = membership.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (directory, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        Some((directory, path.trim_start_matches('/'), file))
    });
    // In a container the path may be the host's; the limit is then in the mount's root.
    let limits = lines.flat_map(|(directory, path, file)| {
        Path::new(path)
            .ancestors()
            .filter_map(|group| fs::read_to_string(directory.join(group).join(file)).ok())
            .filter_map(|limit| limit.trim().parse().ok())
            .collect::<Vec<u64>>()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parent_whatever_the_programs_name_is() {
        assert_eq!(parent_in("17 (a) R 3 (b) S 42 17 17 0"), Pid::from_raw(42));
        assert_eq!(parent_in("17 (sh"), None);
    }

    #[test]
    fn finds_a_child_and_its_memory() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let found = descendants(rustix::process::getpid());
        assert!(found.contains(&pid));
        assert!(used_by(&[pid], 0) > 0);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_lowest_limit_of_all_ancestors_applies() {
        let mount = tempfile::tempdir().unwrap();
        let write = |path: &str, limit: &str| {
            let path = mount.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, limit).unwrap();
        };
        assert_eq!(cgroup_limit(mount.path(), "0::/a/b\n"), None);
        write("a/b/memory.max", "max\n");
        assert_eq!(cgroup_limit(mount.path(), "0::/a/b\n"), None);
        write("a/memory.max", "4096\n");
        assert_eq!(cgroup_limit(mount.path(), "0::/a/b\n"), Some(4096));
        write("memory.max", "1024\n");
        assert_eq!(cgroup_limit(mount.path(), "0::/of/the/host\n"), Some(1024));
        write("memory/docker/x/memory.limit_in_bytes", "512\n");
        let both = "12:cpu,cpuacct:/y\n9:memory:/docker/x\n0::/a/b\n";
        assert_eq!(cgroup_limit(mount.path(), both), Some(512));
    }

    #[test]
    fn this_machine_has_more_than_one_mebibyte() {
        assert!(usable_memory() > 1 << 20);
    }
}
