//! One test's spec and lock, its hosts, and `carafe` run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::demo::{bases, scratch, shared_cache, succeed};
use crate::hosts::{Hosts, TOKENS, certificates};

/// A directory with a spec that is locked, and the hosts that it leads to.
pub struct World {
    directory: tempfile::TempDir,
    /// Gone when taken.
    pub hosts: Option<Hosts>,
}

/// What a run of `carafe` that ended well said.
pub struct Said {
    /// The image.
    pub digest: String,
    /// For people.
    pub stderr: String,
}

impl World {
    /// Locked, and nothing recorded yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in(scratch()).unwrap();
        let hosts = Hosts::start();
        let spec = format!(
            "[image]\nbuild-image = \"oci:{0}/build-image\"\nbase-image = \"oci:{0}/base-image\"\n\
             [frappe]\nurl = \"https://git.carafe.test/crew/frappe\"\nbranch = \"v1\"\n\
             [build]\ntimeout = \"10m\"\n{1}",
            bases().display(),
            hosts.tables()
        );
        std::fs::write(directory.path().join("carafe.toml"), spec).unwrap();
        let world = Self { directory, hosts: Some(hosts) };
        succeed(&mut world.carafe(&["lock", "--quiet"]));
        world
    }

    /// With a build that recorded.
    pub fn recorded() -> (Self, Said) {
        let world = Self::new();
        let said = world.build(&[]);
        (world, said)
    }

    pub fn hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("the hosts are there")
    }

    /// A file of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `carafe` in this directory, with the tokens, the CA, the shared cache and little else.
    pub fn carafe(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carafe"));
        command.args(arguments).current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        let keep = ["PATH", "HOME", "TMPDIR"];
        command.envs(std::env::vars().filter(|(name, _)| keep.contains(&name.as_str())));
        command.envs(TOKENS).env("SSL_CERT_FILE", certificates().join("ca.pem"));
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command.env("CARAFE_CACHE_DIR", shared_cache()).env("NO_COLOR", "1");
        command
    }

    /// Builds into `image`, which must go well.
    pub fn build(&self, arguments: &[&str]) -> Said {
        said(&mut self.carafe(&[&["build"], arguments].concat()))
    }

    /// Runs it; it must fail. What it said, on one line of blanks.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let output = self.carafe(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(TOKENS.iter().all(|(_, token)| !stderr.contains(token)), "{stderr}");
        stderr
    }

    /// What the build added to the image, unpacked: names and contents, one after the other.
    pub fn image(&self) -> Vec<u8> {
        use std::io::Read;
        const BASE_AT_LEAST: usize = 10 << 20;
        let mut all = Vec::new();
        for blob in std::fs::read_dir(self.path("image/blobs/sha256")).unwrap() {
            let blob = std::fs::read(blob.unwrap().path()).unwrap();
            if blob.len() > BASE_AT_LEAST {
                continue;
            }
            let inflated = flate2::read::MultiGzDecoder::new(&*blob).read_to_end(&mut all);
            if inflated.is_err() {
                all.extend(blob);
            }
        }
        all
    }
}

/// Runs a build that must go well.
pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let (_, digest) = stdout.trim_end().rsplit_once('@').expect("a build says its digest");
    Said { digest: digest.to_owned(), stderr }
}

/// Whether `bytes` has `text` in it.
pub fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Every file beneath.
pub fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}
