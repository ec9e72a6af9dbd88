//! Known causes of failed steps, from the output of the tools.
//!
//! A cause is reported only if the output has evidence for it. A program that lacks a header or disk
//! space does not continue, so such evidence counts wherever it is. Network errors and missing
//! commands are often retried or ignored, so they count only if they are among the last lines, and no
//! error of another kind follows.

use crate::sandbox;

/// How many lines may follow evidence that a program can ignore. The lines of Python tracebacks do
/// not count: bench prints one of its own when a command fails.
const MAX_LINES_AFTER: usize = 20;

/// A known cause. If there is evidence for several, the first in this order is reported: it is the
/// cause of the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Cause {
    DiskFull,
    HeapFull,
    UntrustedCertificate,
    MissingHeader,
    MissingCompiler,
    PythonVersion,
    NodeVersion,
    Network,
    DependencyConflict,
    MissingPackage,
    MissingCommand,
}

use Cause::*;

/// Evidence: phrases that must all be in one line, in upper or lower case, each as complete words. The
/// first match is used.
const EVIDENCE: &[(&[&str], Cause)] = &[
    (&["no space left on device"], DiskFull),
    (&["enospc"], DiskFull),
    (&["javascript heap out of memory"], HeapFull),
    (&["certificate verify failed"], UntrustedCertificate),
    (&["error", "self-signed certificate"], UntrustedCertificate),
    (&["error", "self signed certificate"], UntrustedCertificate),
    (&["ssl certificate problem"], UntrustedCertificate),
    (&["self_signed_cert_in_chain"], UntrustedCertificate),
    (&["depth_zero_self_signed_cert"], UntrustedCertificate),
    (&["unable to get local issuer certificate"], UntrustedCertificate),
    (&["unknownissuer"], UntrustedCertificate),
    (&["fatal error:", ".h: no such file"], MissingHeader),
    (&["mysql_config", "not found"], MissingHeader),
    (&["can not find valid pkg-config name"], MissingHeader),
    (&["pkg-config is not installed"], MissingCompiler),
    (&["command 'gcc' failed: no such file"], MissingCompiler),
    (&["command 'cc' failed: no such file"], MissingCompiler),
    (&["python version", "does not satisfy python"], PythonVersion),
    (&["requires a different python"], PythonVersion),
    (&["no interpreter found for python"], PythonVersion),
    (&["engine \"node\" is incompatible"], NodeVersion),
    (&["trouble with your network connection"], Network),
    (&["could not resolve host"], Network),
    (&["temporary failure in name resolution"], Network),
    (&["name or service not known"], Network),
    (&["failed to establish a new connection"], Network),
    (&["connection refused"], Network),
    (&["network is unreachable"], Network),
    (&["error sending request for url"], Network),
    (&["dns error"], Network),
    (&["eai_again"], Network),
    (&["enotfound"], Network),
    (&["etimedout"], Network),
    (&["esockettimedout"], Network),
    (&["econnrefused"], Network),
    (&["econnreset"], Network),
    (&["no solution found when resolving dependencies"], DependencyConflict),
    (&["resolutionimpossible"], DependencyConflict),
    (&["couldn't find package"], MissingPackage),
    (&["couldn't find any versions for"], MissingPackage),
    (&["sh:", ": not found"], MissingCommand),
    (&[": command not found"], MissingCommand),
];

/// Python exceptions that a network error or a missing command does not raise.
const PROGRAM_ERRORS: [&str; 10] = [
    "AssertionError",
    "AttributeError",
    "ImportError",
    "IndentationError",
    "IndexError",
    "KeyError",
    "ModuleNotFoundError",
    "NameError",
    "SyntaxError",
    "TypeError",
];

impl Cause {
    /// Whether programs often retry or ignore it.
    fn may_be_ignored(self) -> bool {
        match self {
            Network | MissingCommand => true,
            DiskFull | HeapFull | UntrustedCertificate | MissingHeader | MissingCompiler | PythonVersion
            | NodeVersion | DependencyConflict | MissingPackage => false,
        }
    }

    /// The cause and the next action, for a step with this network.
    fn help(self, network: sandbox::Network) -> &'static str {
        match self {
            DiskFull => "the disk is full: free space on the disk of CARAFE_CACHE_DIR, or use another disk",
            HeapFull => {
                "node ran out of memory: raise [build] memory in carafe.toml, or build on a machine with more memory"
            }
            UntrustedCertificate => {
                "a certificate is not trusted: if a proxy of your network intercepts TLS, set SSL_CERT_FILE to a bundle with its CA certificate"
            }
            MissingHeader => {
                "a header of a library is missing in the build image: use an image with its development package (frappe/build has those that frappe requires)"
            }
            MissingCompiler => {
                "a compiler or pkg-config is missing in the build image: use frappe/build or an image built from it"
            }
            PythonVersion => {
                "an app requires another version of Python than the build image has: use a build image for this version of frappe (frappe/build:version-15 or similar)"
            }
            NodeVersion => {
                "an app requires another version of node than the build image has: use a build image for this version of frappe"
            }
            Network => network_help(network),
            DependencyConflict => {
                "the apps' Python dependencies conflict, or one does not exist: compare their pyproject.toml files, and the branches that you build"
            }
            MissingPackage => {
                "yarn did not find a package or a version of it: check the app's package.json and yarn.lock, and the npm registry"
            }
            MissingCommand => {
                "a script of an app may require a command that the build image does not have: use a build image that has it"
            }
        }
    }
}

fn network_help(network: sandbox::Network) -> &'static str {
    match network {
        sandbox::Network::EgressProxy => {
            "a host may be unreachable: check HTTPS_PROXY and NO_PROXY, and try again; completed downloads are kept"
        }
        sandbox::Network::None => {
            "a build script may require the network, which `bench build` does not have, because the image must contain only locked inputs: declare the download in the app's package.json, or add it to its repository"
        }
    }
}

/// Looks for known causes in the output of one step.
pub(super) struct Diagnosis {
    network: sandbox::Network,
    /// The first cause in the order of [`Cause`] that programs do not ignore.
    definite: Option<Cause>,
    /// The latest cause that programs may ignore, and the number of lines since.
    possible: Option<(Cause, usize)>,
    /// The indentation of the traceback that the last line belongs to.
    traceback: Option<usize>,
}

impl Diagnosis {
    /// For a step with this network.
    pub fn new(network: sandbox::Network) -> Self {
        Self { network, definite: None, possible: None, traceback: None }
    }

    /// Adds the next line of the output.
    pub fn observe(&mut self, line: &str) {
        if line.trim().is_empty() || self.is_in_traceback(line) {
            return;
        }
        if is_program_error(line) {
            self.possible = None;
        }
        match find_cause(line) {
            Some(cause) if cause.may_be_ignored() => self.possible = Some((cause, 0)),
            Some(cause) => self.definite = self.definite.into_iter().chain([cause]).min(),
            None => self.possible.iter_mut().for_each(|(_, lines)| *lines += 1),
        }
    }

    /// Whether the line belongs to a traceback. The exception itself does not, which follows it with
    /// the indentation of its first line.
    fn is_in_traceback(&mut self, line: &str) -> bool {
        let text = line.trim_start();
        let indentation = line.len() - text.len();
        if text.starts_with("Traceback (most recent call last)") {
            self.traceback = Some(indentation);
        } else if self.traceback.is_some_and(|traceback| indentation <= traceback) {
            self.traceback = None;
        }
        self.traceback.is_some()
    }

    /// The cause and the next action, if the output has evidence for a known cause.
    pub fn help(&self) -> Option<&'static str> {
        let possible = self.possible.filter(|(_, lines)| *lines < MAX_LINES_AFTER).map(|(cause, _)| cause);
        let cause = self.definite.into_iter().chain(possible).min()?;
        Some(cause.help(self.network))
    }
}

fn find_cause(line: &str) -> Option<Cause> {
    let line = line.to_lowercase();
    let is_in_line = |phrases: &[&str]| phrases.iter().all(|phrase| contains_words(&line, phrase));
    EVIDENCE.iter().find(|(phrases, _)| is_in_line(phrases)).map(|(_, cause)| *cause)
}

/// Whether `phrase` is in `line`, not as a part of longer words: `ModuleNotFoundError` does not contain
/// `ENOTFOUND`.
fn contains_words(line: &str, phrase: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (first, last) = (phrase.chars().next(), phrase.chars().next_back());
    line.match_indices(phrase).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + phrase.len()..].chars().next();
        let joins = |a: Option<char>, b: Option<char>| a.is_some_and(is_word) && b.is_some_and(is_word);
        !joins(before, first) && !joins(last, after)
    })
}

/// Whether the line is a Python exception of [`PROGRAM_ERRORS`], such as `ImportError: …`.
fn is_program_error(line: &str) -> bool {
    let name = line.trim_start().split(':').next().unwrap_or_default();
    PROGRAM_ERRORS.contains(&name.trim_end())
}

#[cfg(test)]
mod tests;
