//! Lock → [`NetworkPlan`]: whether a build replays a recording or makes a new one, and where a new one is stored.
//!
//! A recording is stored in the cache, and in the file `carafe.record` next to its lock, to be committed with it. The
//! lock has its digest: a build uses exactly that recording, or fails.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use carafe_builder::atomic_write::atomic_write;
use carafe_builder::cache::{Bucket, CacheError};
use carafe_builder::egress::{MAX_RECORDING_BYTES, Mode, Recording, Update};
use carafe_builder::lock::Lock;
use carafe_layers::digest::Digest;
use miette::{Context as _, IntoDiagnostic, miette};

use super::egress::Traffic;
use super::options::LockOptions;
use crate::context::Context;

/// The extension of the file, in place of the lock's, and the name of the file in an entry of the cache.
const EXTENSION: &str = "record";

/// How a build uses the network.
pub struct NetworkPlan {
    /// Whether the egress proxy records or replays.
    pub mode: Mode,
    /// Where a new recording is stored.
    pub output: RecordingOutput,
}

/// Where a new recording is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordingOutput {
    /// It is not stored, and the lock does not change.
    Discard,
    /// In the cache; the image's lock has its digest.
    Cache,
    /// In the cache and next to this lock file, which gets its digest.
    NextToLock(PathBuf),
}

impl NetworkPlan {
    /// Replays this recording; other requests are blocked.
    pub fn replay(recording: Recording) -> Self {
        Self { mode: Mode::Replay(recording), output: RecordingOutput::Discard }
    }

    /// The plan for a lock and the user's options. `is_file` is whether the lock is in the file `options.path`, or
    /// only in the image.
    pub fn for_lock(
        lock: &Lock,
        is_file: bool,
        options: &LockOptions,
        offline: bool,
        context: &Context,
    ) -> miette::Result<Self> {
        let output = match is_file {
            true => RecordingOutput::NextToLock(options.path.clone()),
            false => RecordingOutput::Cache,
        };
        let path = recording_path(&options.path);
        let previous = || if is_file { read_previous(&path) } else { Ok(None) };
        let record = |previous, update| Mode::Record { previous, update };
        let mode = match (lock.recording, &options.update) {
            (Some(digest), None) => Mode::Replay(find(digest, &path, context)?),
            (Some(digest), Some(update)) => record(Some(find(digest, &path, context)?), update.clone()),
            (None, _) if options.locked || offline => return Err(not_recorded(&options.path)),
            (None, Some(update)) => record(previous()?, update.clone()),
            // After `carafe lock`, the previous recording still has the versions of all packages. Only requests
            // that it does not have are recorded, so a change of one app does not change the packages of others.
            (None, None) => match previous()? {
                Some(previous) => record(Some(previous), Update::Only(Vec::new())),
                None => record(None, Update::All),
            },
        };
        Ok(Self { mode, output })
    }

    /// The plan for a second build of `lock`. If its recording is not available, all requests are recorded again,
    /// which gives the same recording if the servers return the same responses.
    pub fn for_rebuild(lock: &Lock, context: &Context) -> miette::Result<Self> {
        let mode = Mode::Record { previous: None, update: Update::All };
        let Some(digest) = lock.recording else { return Ok(Self { mode, output: RecordingOutput::Discard }) };
        if let Some(recording) = load(digest, context)? {
            return Ok(Self::replay(recording));
        }
        let effect = "everything that bench downloads is fetched again";
        context.progress.warn(format!("the recording {digest} is not in the cache: {effect}"));
        Ok(Self { mode, output: RecordingOutput::Cache })
    }
}

/// Stores a new recording as `output` requires. Returns the lock with the digest of the recording that the build
/// used.
pub fn finalize(
    lock: Lock,
    traffic: Option<&Traffic>,
    output: &RecordingOutput,
    context: &Context,
) -> miette::Result<Lock> {
    let Some(traffic) = traffic else { return Ok(Lock { recording: None, ..lock }) };
    if !traffic.is_new || *output == RecordingOutput::Discard {
        return Ok(lock);
    }
    let bytes = traffic.recording.to_bytes();
    let lock = Lock { recording: Some(Digest::of(&bytes)), ..lock };
    store(&bytes, context)?;
    if let RecordingOutput::NextToLock(path) = output {
        let recording = recording_path(path);
        atomic_write(&recording, &bytes)
            .into_diagnostic()
            .wrap_err_with(|| format!("failed to write the recording `{}`", recording.display()))?;
        lock.write(path)?;
    }
    Ok(lock)
}

/// Stores a recording in the cache.
pub fn store(bytes: &[u8], context: &Context) -> miette::Result<()> {
    bucket(context)?.entry(&Digest::of(bytes).hex(), |directory| {
        let path = directory.join(EXTENSION);
        fs::write(&path, bytes).map_err(|source| CacheError::Io { verb: "write", path, source })
    })?;
    Ok(())
}

/// Copies the recording at `path` into the cache. It must have this digest.
pub fn import(path: &Path, digest: Digest, context: &Context) -> miette::Result<()> {
    let bytes = read(path)?.ok_or_else(|| {
        miette!(help = "check the path", "failed to read the recording `{}`: no such file", path.display())
    })?;
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(miette!(
            help = "use the file from the commit that has the image's lock; `carafe inspect --lock` prints that lock",
            "`{}` is another recording: its digest is {found}, the lock has {digest}",
            path.display(),
        ));
    }
    Recording::parse(&bytes)?;
    store(&bytes, context)
}

/// Returns the recording with this digest, if it is in the cache.
pub fn load(digest: Digest, context: &Context) -> miette::Result<Option<Recording>> {
    let path = bucket(context)?.path().join(digest.hex()).join(EXTENSION);
    match read(&path)? {
        Some(bytes) if Digest::of(&bytes) == digest => Ok(Some(Recording::parse(&bytes)?)),
        _ => Ok(None),
    }
}

fn bucket(context: &Context) -> Result<Bucket, CacheError> {
    context.cache.bucket("records", 1)
}

/// The path of the recording that belongs to the lock file `lock_file`.
pub fn recording_path(lock_file: &Path) -> PathBuf {
    lock_file.with_extension(EXTENSION)
}

/// Returns the recording with the digest of the lock: the file `path`, or, if it does not exist, from the cache.
pub fn find(digest: Digest, path: &Path, context: &Context) -> miette::Result<Recording> {
    if let Some(bytes) = read(path)? {
        let found = Digest::of(&bytes);
        if found == digest {
            return Ok(Recording::parse(&bytes)?);
        }
        return Err(miette!(
            help = "use both files from the same commit; or remove the line `record = …` from the lock and run `carafe build`, which makes a new recording",
            "`{}` is not the recording of the lock: its digest is {found}, the lock has {digest}",
            path.display(),
        ));
    }
    load(digest, context)?.ok_or_else(|| {
        miette!(
            help = "commit it together with the lock; or remove the line `record = …` from the lock and run `carafe build`, which makes a new recording",
            "failed to find the recording {digest} of the lock: it is neither in `{}` nor in the cache",
            path.display(),
        )
    })
}

/// The recording of an earlier lock in the same file.
fn read_previous(path: &Path) -> miette::Result<Option<Recording>> {
    let parse = |bytes: Vec<u8>| {
        Recording::parse(&bytes).map_err(miette::Report::from).wrap_err_with(|| {
            format!("failed to use `{}`; if it is removed, everything is recorded again", path.display())
        })
    };
    read(path)?.map(parse).transpose()
}

fn not_recorded(lock_file: &Path) -> miette::Report {
    let (lock, recording) = (lock_file.display(), recording_path(lock_file));
    let help = format!(
        "run `carafe build` once without `--locked` and `--offline`, which records what bench downloads; then commit `{lock}` and `{}`",
        recording.display()
    );
    miette!(help = help, "`{lock}` has no recording, so what bench downloads is not pinned")
}

/// Reads a file, up to one byte more than a recording may have. `None` if it does not exist.
fn read(path: &Path) -> miette::Result<Option<Vec<u8>>> {
    let limit = MAX_RECORDING_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).into_diagnostic().wrap_err_with(|| format!("failed to read `{}`", path.display()))
        }
    }
}
