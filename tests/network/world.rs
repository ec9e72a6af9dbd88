//! The spec, lock and hosts of one test, and `carafe` commands in its directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::demo::{bases, scratch, shared_cache, succeed};
use crate::hosts::{Hosts, TOKENS, certificates};

/// A directory with a spec and its lock, and the hosts that the spec uses.
pub struct World {
    directory: tempfile::TempDir,
    /// The hosts stop when this becomes `None`.
    pub hosts: Option<Hosts>,
}

/// The output of a successful build.
pub struct Finished {
    /// The digest of the image.
    pub digest: String,
    /// The messages.
    pub stderr: String,
}

impl World {
    /// With a lock, without a recording.
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

    /// With a recording, made by a build.
    pub fn recorded() -> (Self, Finished) {
        let world = Self::new();
        let finished = world.build(&[]);
        (world, finished)
    }

    pub fn hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("the hosts run")
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `carafe` in this directory, with a minimal environment: the tokens, the CA, the shared cache.
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

    /// Builds into `image`; must succeed.
    pub fn build(&self, arguments: &[&str]) -> Finished {
        finished(&mut self.carafe(&[&["build"], arguments].concat()))
    }

    /// Runs `carafe`, which must fail without showing a token. Returns its messages.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let output = self.carafe(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(TOKENS.iter().all(|(_, token)| !stderr.contains(token)), "{stderr}");
        stderr
    }

    /// The layers that the build added to the image, decompressed and concatenated.
    pub fn image(&self) -> Vec<u8> {
        use std::io::Read;
        const MIN_BASE_LAYER_BYTES: usize = 10 << 20;
        let mut all = Vec::new();
        for blob in std::fs::read_dir(self.path("image/blobs/sha256")).unwrap() {
            let blob = std::fs::read(blob.unwrap().path()).unwrap();
            if blob.len() > MIN_BASE_LAYER_BYTES {
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

/// Runs a build, which must succeed.
pub fn finished(command: &mut Command) -> Finished {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let (_, digest) = stdout.trim_end().rsplit_once('@').expect("carafe build prints the digest");
    Finished { digest: digest.to_owned(), stderr }
}

/// Whether `bytes` contains `text`.
pub fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Adds all files below `directory` to `found`.
pub fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), found),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}
