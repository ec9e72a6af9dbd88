//! A small lock with its commit, recording and images, created without a build.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use carafe::bundle::write::{Delta, Written, to_directory, to_tar};
use carafe::bundle::{Bundle, BundleBuilder, BundleError, BundleInputs};
use carafe_builder::cache::Cache;
use carafe_builder::egress::{BodyStore, Method, RecordedRequest, RecordedResponse, Recording};
use carafe_builder::git::{Remote, Store};
use carafe_builder::lock::{LOCK_VERSION, Lock, LockedApp, LockedImage, LockedSource, PinnedApp};
use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::archive::ArchiveSource;
use carafe_layers::digest::Digest;
use carafe_layers::format::FormatVersion;
use carafe_layers::layout::LayoutSource;
use carafe_layers::oci::{Descriptor, Platform, media_type};
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError, resolve};
use tempfile::TempDir;

use crate::images::Image;

/// The recorded response bodies.
pub const BODIES: [&[u8]; 3] = [b"a wheel", b"an index page", b""];

/// A simulated machine with all inputs of a bundle.
pub struct World {
    pub directory: TempDir,
    pub stores: Stores,
    pub lock: Lock,
    pub recording: Recording,
    pub apps: Vec<PinnedApp>,
    pub images: Vec<(ResolvedImage, Arc<dyn ImageSource>)>,
}

/// The stores of one machine.
pub struct Stores {
    _directory: TempDir,
    pub root: PathBuf,
    pub commits: Store,
    pub bodies: BodyStore,
}

impl Stores {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path()).unwrap();
        let (commits, bodies) = (Store::new(&cache).unwrap(), BodyStore::of(&cache).unwrap());
        Self { root: directory.path().to_owned(), _directory: directory, commits, bodies }
    }

    /// The names of the entries of a cache bucket.
    pub fn entries(&self, bucket: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.root.join(bucket)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

impl World {
    /// One app whose file contains `text`, with `extra` among the recorded bodies.
    pub fn new(text: &str, extra: &[&[u8]]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores = Stores::new();
        let app = pinned(directory.path(), text, &stores);
        let images = [with_index(&[b"build"]), plain(&[b"base", b"more of it"])];
        let locked = |name: &str, image: &(ResolvedImage, _)| LockedImage {
            reference: name.to_owned(),
            digest: image.0.root.digest,
        };
        let lock = Lock {
            version: LOCK_VERSION,
            format_version: FormatVersion::CURRENT,
            spec: Digest::of(b"spec"),
            source_date_epoch: app.locked.time,
            recording: None,
            build_image: locked("example.com/build:1", &images[0]),
            base_image: locked("example.com/base:1", &images[1]),
            tools: Default::default(),
            env: Default::default(),
            apps: vec![app.locked.clone()],
        };
        let (recording, apps, images) = (Recording::default(), vec![app], images.into());
        let mut world = Self { directory, stores, lock, recording, apps, images };
        for (number, body) in BODIES.iter().chain(extra).enumerate() {
            world.record(&format!("https://example.com/{number}"), body);
        }
        world
    }

    /// Records one more response, to a GET of `url`.
    pub fn record(&mut self, url: &str, body: &[u8]) {
        let (body, size) = self.stores.bodies.put(body).unwrap();
        let url = url.parse().unwrap();
        let request = RecordedRequest { url, method: Method::Get, headers: Default::default(), body: None };
        let response = RecordedResponse { status: 200, headers: Default::default(), body, size };
        self.recording.insert(request, response);
        self.lock.recording = Some(self.recording.digest());
    }

    pub fn inputs(&self) -> BundleInputs<'_> {
        BundleInputs {
            lock: &self.lock,
            recording: &self.recording,
            apps: &self.apps,
            images: &self.images,
            commits: &self.stores.commits,
            bodies: &self.stores.bodies,
        }
    }

    pub fn builder(&self) -> BundleBuilder {
        let scratch = self.path("commits");
        std::fs::create_dir_all(&scratch).unwrap();
        BundleBuilder::gather(&self.inputs(), &scratch).unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the bundle to a new directory.
    pub fn directory(&self, delta: Option<&Delta>) -> (PathBuf, Written) {
        let path = tempfile::tempdir_in(self.directory.path()).unwrap().keep();
        let written = to_directory(&self.builder(), &path, delta, &Progress::silent()).unwrap();
        (path, written)
    }

    pub fn tar(&self, delta: Option<&Delta>) -> (PathBuf, Written) {
        let path = self.path("bundle.tar");
        let written = to_tar(&self.builder(), &path, delta, &Progress::silent()).unwrap();
        (path, written)
    }
}

pub fn layout(path: &Path) -> Arc<dyn ImageSource> {
    Arc::new(LayoutSource::open(path, None).unwrap())
}

pub fn archive(path: &Path) -> Arc<dyn ImageSource> {
    Arc::new(ArchiveSource::open(path, None).unwrap())
}

/// Opens a bundle and unpacks it on a machine with empty stores.
pub fn unpacked(sources: &[Arc<dyn ImageSource>]) -> Result<(Bundle, Stores), BundleError> {
    let stores = Stores::new();
    let bundle = Bundle::open(Arc::clone(&sources[0]), sources[1..].iter().cloned())?;
    bundle.unpack(&stores.commits, &stores.bodies, &Progress::silent())?;
    Ok((bundle, stores))
}

/// The text of an error with its causes and its help.
pub fn error_text(error: &BundleError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    let help = miette::Diagnostic::help(error).map(|help| help.to_string());
    format!("{text}\n{}", help.unwrap_or_else(|| panic!("no help for: {text}")))
}

fn plain(layers: &[&[u8]]) -> (ResolvedImage, Arc<dyn ImageSource>) {
    let image = Image::new(layers);
    (image.resolved(), Arc::new(image))
}

/// An image in an index with several images, of which a bundle contains one.
fn with_index(layers: &[&[u8]]) -> (ResolvedImage, Arc<dyn ImageSource>) {
    let image = Image::new(layers);
    let mut here = image.resolved().descriptor;
    here.platform = Some(Platform::host());
    let mut elsewhere = Descriptor::of(media_type::MANIFEST, b"of another platform");
    elsewhere.platform = Some(Platform { os: "plan9".to_owned(), ..Platform::host() });
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [elsewhere, here]});
    let indexed = Indexed { image, index: index.to_string().into_bytes() };
    (resolve(&indexed, &Platform::host()).unwrap(), Arc::new(indexed))
}

struct Indexed {
    image: Image,
    index: Vec<u8>,
}

impl ImageSource for Indexed {
    fn name(&self) -> String {
        "an index in memory".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        Ok((Descriptor::of(media_type::INDEX, &self.index), self.index.clone()))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.image.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        self.image.blob(descriptor)
    }
}

fn pinned(directory: &Path, text: &str, stores: &Stores) -> PinnedApp {
    let work = directory.join("app");
    std::fs::create_dir_all(work.join("frappe")).unwrap();
    std::fs::write(work.join("frappe/hooks.py"), text).unwrap();
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "--message", "first"]);
    let commit = git(&work, &["rev-parse", "HEAD"]).parse().unwrap();
    let remote = Remote::parse(&format!("file://{}", work.display())).unwrap();
    let task = Progress::silent().task(Stage::Fetch, "app", None, Unit::Bytes);
    let checkout = stores.commits.fetch(&remote, &commit, &task).unwrap();
    let url = "https://example.com/frappe".to_owned();
    let locked = LockedApp {
        name: "frappe".to_owned(),
        source: LockedSource::Git { url, reference: None },
        commit,
        tree: checkout.tree.clone(),
        time: checkout.time,
    };
    PinnedApp { locked, checkout }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.current_dir(directory).args(arguments);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.org");
        git.env(format!("GIT_{who}_DATE"), "1700000000 +0100");
    }
    let output = git.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
