use super::*;

fn cause(lines: &[&str]) -> Option<&'static str> {
    with_network(sandbox::Network::EgressProxy, lines)
}

fn with_network(network: sandbox::Network, lines: &[&str]) -> Option<&'static str> {
    let mut diagnosis = Diagnosis::new(network);
    lines.iter().for_each(|line| diagnosis.observe(line));
    diagnosis.help()
}

fn help(cause: Cause) -> Option<&'static str> {
    Some(cause.help(sandbox::Network::EgressProxy))
}

#[test]
fn recognizes_the_errors_of_the_tools() {
    let cases = [
        (
            "  ╰─▶ Because the current Python version (3.11.2) does not satisfy Python>=3.14,<3.15 and",
            PythonVersion,
        ),
        ("ERROR: Package 'frappe' requires a different Python: 3.9.2 not in '>=3.10'", PythonVersion),
        (
            "error vite@7.0.0: The engine \"node\" is incompatible with this module. Expected version \">=20\". Got \"18.20.4\"",
            NodeVersion,
        ),
        ("MySQLdb/_mysql.c:29:10: fatal error: mysql.h: No such file or directory", MissingHeader),
        ("/bin/sh: 1: mysql_config: not found", MissingHeader),
        ("  × No solution found when resolving dependencies:", DependencyConflict),
        ("error Couldn't find any versions for \"air-datepicker\" that matches \"^99.0.0\"", MissingPackage),
        ("sh: 1: pnpm: not found", MissingCommand),
        ("/bin/bash: line 1: pnpm: command not found", MissingCommand),
    ];
    for (line, expected) in cases {
        assert_eq!(cause(&[line]), help(expected), "{line}");
    }
    assert_eq!(cause(&["warning unmet peer dependency", "error: exit 1"]), None);
}

#[test]
fn a_network_cause_requires_a_network_error() {
    for line in [
        "  ├─▶ dns error: failed to lookup address information: Temporary failure in name resolution",
        "Error: getaddrinfo EAI_AGAIN registry.yarnpkg.com",
        "error Error: getaddrinfo ENOTFOUND fonts.example.com",
        "Error: connect ECONNREFUSED 127.0.0.1:443",
        "fatal: unable to access 'https://example.com/': Could not resolve host: example.com",
        "urllib.error.URLError: <urlopen error [Errno 111] Connection refused>",
        "info There appears to be trouble with your network connection. Retrying...",
    ] {
        assert_eq!(cause(&[line]), help(Network), "{line}");
    }
    for line in [
        "ModuleNotFoundError: No module named 'alpha'",
        "ImportError: cannot import name 'nope' from 'json'",
        "frappe.exceptions.DoesNotExistError: DocType File not found",
        "warning: package.json: no license field",
        "✘ [ERROR] Could not resolve \"./missing.js\"",
    ] {
        assert_eq!(cause(&[line]), None, "{line}");
        assert_eq!(with_network(sandbox::Network::None, &[line]), None, "{line}");
    }
}

#[test]
fn a_disk_cause_requires_enospc() {
    assert_eq!(cause(&["error \"ENOSPC: no space left on device, write\"."]), help(DiskFull));
    assert_eq!(cause(&["OSError: [Errno 28] No space left on device: '/tmp/x'"]), help(DiskFull));
    assert_eq!(cause(&["error: disk quota and space are checked", "set ENOSPCX"]), None);
}

#[test]
fn a_heap_cause_requires_nodes_own_error() {
    let line = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";
    assert_eq!(cause(&[line]), help(HeapFull));
    assert_eq!(cause(&["MemoryError", "the heap is large", "Killed"]), None);
}

#[test]
fn a_certificate_cause_requires_a_rejected_certificate() {
    for line in [
        "Error: unable to get local issuer certificate",
        "error An unexpected error occurred: \"https://npm.example.com/x: self-signed certificate in certificate chain\".",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed",
        "invalid peer certificate: UnknownIssuer",
    ] {
        assert_eq!(cause(&[line]), help(UntrustedCertificate), "{line}");
    }
    assert_eq!(cause(&["info created a self-signed certificate for the development server"]), None);
}

const REDIS: &str = "Warning: cannot update the cache, redis: Error -2 connecting to redis_cache:6379. Name or service not known.";

const BENCH_TRACEBACK: [&str; 6] = [
    "Traceback (most recent call last):",
    "  File \"/usr/local/bin/bench\", line 8, in <module>",
    "    sys.exit(cli())",
    "             ^^^^^",
    "  File \"/usr/lib/python3.11/subprocess.py\", line 571, in run",
    "subprocess.CalledProcessError: Command 'bench build' returned non-zero exit status 1.",
];

#[test]
fn an_import_error_after_a_network_warning_has_no_network_cause() {
    let mut lines = vec![
        REDIS,
        "Traceback (most recent call last):",
        "  File \"apps/alpha/alpha/commands/__init__.py\", line 4, in <module>",
        "    from json import nope",
        "ImportError: cannot import name 'nope' from 'json' (/usr/lib/python3.11/json/__init__.py)",
    ];
    lines.extend(BENCH_TRACEBACK);
    assert_eq!(with_network(sandbox::Network::None, &lines), None);
}

#[test]
fn a_network_error_counts_among_the_last_lines_only() {
    let mut lines = vec![REDIS];
    lines.extend(["building assets"; MAX_LINES_AFTER]);
    lines.push("error Command failed with exit code 1.");
    assert_eq!(cause(&lines), None);
    lines.push("Error: getaddrinfo ENOTFOUND fonts.example.com");
    assert_eq!(cause(&lines), help(Network));
}

#[test]
fn bench_tracebacks_do_not_hide_the_failed_command() {
    let mut lines = vec!["$ cd frontend && pnpm install", "/bin/sh: 1: pnpm: not found"];
    for _ in 0..MAX_LINES_AFTER {
        lines.extend(&BENCH_TRACEBACK[..5]);
    }
    lines.push(BENCH_TRACEBACK[5]);
    assert_eq!(cause(&lines), help(MissingCommand));
}

#[test]
fn a_step_without_network_has_a_help_text_of_its_own() {
    let line = "Error: getaddrinfo ENOTFOUND fonts.example.com";
    let help = with_network(sandbox::Network::None, &[line]).unwrap();
    assert!(help.contains("may require the network, which `bench build` does not have"), "{help}");
}

#[test]
fn a_cause_precedes_its_consequences() {
    let conflict = "  × No solution found when resolving dependencies:";
    let python = "because the current Python version (3.11.2) does not satisfy Python>=3.14";
    assert_eq!(cause(&[conflict, python]), help(PythonVersion));
    assert_eq!(cause(&["trouble with your network connection", "no space left on device"]), help(DiskFull));
}
