//! What well-known failures of a build mean, told from its output.

use crate::sandbox::Network;

/// Parts of a line, and what the user can do about it. All parts must be there, in any case of
/// letters. The first match from the top wins over later ones.
struct Cause {
    parts: &'static [&'static str],
    help: &'static str,
}

const fn cause(parts: &'static [&'static str], help: &'static str) -> Cause {
    Cause { parts, help }
}

const DISK: &str = "the disk is full: give the build's scratch directory more room";
const HEAP: &str =
    "node ran out of memory: raise [build] memory in carafe.toml, or build on a machine with more";
const CERTIFICATE: &str = "a certificate was not trusted: if a proxy of yours opens TLS, point SSL_CERT_FILE at a bundle that holds its CA; the build is given it";
const NETWORK: &str = "the network or a registry did not answer: check proxies (HTTPS_PROXY, NO_PROXY) and try again; what was downloaded is kept";
const PYTHON: &str = "an app needs another python than the build image has: use a build image for this version of frappe (frappe/build:version-15 and the like)";
const NODE: &str =
    "an app needs another node than the build image has: use a build image for this version of frappe";
const CONFLICT: &str = "the apps' python dependencies contradict each other, or one does not exist: compare their pyproject.toml, and the branches you build";
const HEADERS: &str = "a library's header is missing in the build image: use one that has its development package (frappe/build has those that frappe needs)";
const COMPILER: &str =
    "a compiler or pkg-config is missing in the build image: use frappe/build or an image made from it";
const PACKAGE: &str = "yarn does not find a package or a version of it: check the app's package.json and yarn.lock, and the npm registry in use";

const CAUSES: &[Cause] = &[
    cause(&["no space left on device"], DISK),
    cause(&["enospc"], DISK),
    cause(&["javascript heap out of memory"], HEAP),
    cause(&["certificate verify failed"], CERTIFICATE),
    cause(&["self-signed certificate"], CERTIFICATE),
    cause(&["self signed certificate"], CERTIFICATE),
    cause(&["unable to get local issuer certificate"], CERTIFICATE),
    cause(&["unknownissuer"], CERTIFICATE),
    cause(&["fatal error:", ".h: no such file"], HEADERS),
    cause(&["mysql_config", "not found"], HEADERS),
    cause(&["can not find valid pkg-config name"], HEADERS),
    cause(&["pkg-config is not installed"], COMPILER),
    cause(&["command 'gcc' failed: no such file"], COMPILER),
    cause(&["command 'cc' failed: no such file"], COMPILER),
    cause(&["python version", "does not satisfy python"], PYTHON),
    cause(&["requires a different python"], PYTHON),
    cause(&["no interpreter found for python"], PYTHON),
    cause(&["engine \"node\" is incompatible"], NODE),
    cause(&["trouble with your network connection"], NETWORK),
    cause(&["could not resolve host"], NETWORK),
    cause(&["temporary failure in name resolution"], NETWORK),
    cause(&["name or service not known"], NETWORK),
    cause(&["failed to establish a new connection"], NETWORK),
    cause(&["network is unreachable"], NETWORK),
    cause(&["error sending request for url"], NETWORK),
    cause(&["dns error"], NETWORK),
    cause(&["enotfound"], NETWORK),
    cause(&["etimedout"], NETWORK),
    cause(&["esockettimedout"], NETWORK),
    cause(&["econnrefused"], NETWORK),
    cause(&["econnreset"], NETWORK),
    cause(&["no solution found when resolving dependencies"], CONFLICT),
    cause(&["resolutionimpossible"], CONFLICT),
    cause(&["couldn't find package"], PACKAGE),
    cause(&["couldn't find any versions for"], PACKAGE),
];

/// Instead of [`NETWORK`], where there is none on purpose.
const OFFLINE: &str = "`bench build` has no network, so that an image is made of what was locked: an app's build script downloads something, and should have it in its package.json or its repository";

/// Watches a build's output for what explains its end.
pub(super) struct Diagnosis {
    network: Network,
    known: Option<usize>,
}

impl Diagnosis {
    /// Of a step with this network.
    pub fn new(network: Network) -> Self {
        Self { network, known: None }
    }

    /// One more line.
    pub fn watch(&mut self, line: &str) {
        let line = line.to_lowercase();
        let known = CAUSES.iter().position(|cause| cause.parts.iter().all(|part| line.contains(part)));
        self.known = [self.known, known].into_iter().flatten().min();
    }

    /// What the user can do, if what was seen is well known.
    pub fn help(&self) -> Option<&'static str> {
        let help = CAUSES[self.known?].help;
        let on_purpose = help == NETWORK && self.network == Network::None;
        Some(if on_purpose { OFFLINE } else { help })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(lines: &[&str]) -> Option<&'static str> {
        let mut diagnosis = Diagnosis::new(Network::EgressProxy);
        lines.iter().for_each(|line| diagnosis.watch(line));
        diagnosis.help()
    }

    #[test]
    fn what_the_tools_say_is_understood() {
        let cases = [
            (
                "  ╰─▶ Because the current Python version (3.11.2) does not satisfy Python>=3.14,<3.15 and",
                PYTHON,
            ),
            ("ERROR: Package 'frappe' requires a different Python: 3.9.2 not in '>=3.10'", PYTHON),
            (
                "error vite@7.0.0: The engine \"node\" is incompatible with this module. Expected version \">=20\". Got \"18.20.4\"",
                NODE,
            ),
            ("info There appears to be trouble with your network connection. Retrying...", NETWORK),
            (
                "  ├─▶ dns error: failed to lookup address information: Temporary failure in name resolution",
                NETWORK,
            ),
            ("MySQLdb/_mysql.c:29:10: fatal error: mysql.h: No such file or directory", HEADERS),
            ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", HEAP),
            ("error An unexpected error occurred: \"ENOSPC: no space left on device, write\".", DISK),
            ("Error: unable to get local issuer certificate", CERTIFICATE),
            ("  × No solution found when resolving dependencies:", CONFLICT),
            ("error Couldn't find any versions for \"air-datepicker\" that matches \"^99.0.0\"", PACKAGE),
        ];
        for (line, expected) in cases {
            assert_eq!(help(&[line]), Some(expected), "{line}");
        }
        assert_eq!(help(&["warning unmet peer dependency", "error: exit 1"]), None);
    }

    #[test]
    fn a_build_without_network_is_told_so() {
        let mut diagnosis = Diagnosis::new(Network::None);
        diagnosis.watch("Error: getaddrinfo ENOTFOUND fonts.example.com");
        assert_eq!(diagnosis.help(), Some(OFFLINE));
    }

    #[test]
    fn the_cause_wins_over_its_consequence() {
        let conflict = "  × No solution found when resolving dependencies:";
        let python = "because the current Python version (3.11.2) does not satisfy Python>=3.14";
        assert_eq!(help(&[conflict, python]), Some(PYTHON));
        assert_eq!(help(&["trouble with your network connection", "no space left on device"]), Some(DISK));
    }
}
