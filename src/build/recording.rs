//! Lock → record: what a build's door answers from, and where a new record goes.
//!
//! A record lies beside its lock, to be committed with it, and in the cache. The lock names it by
//! digest: a build either has exactly that record or says that it has not.

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
use super::lock_options::LockOptions;
use crate::context::Context;

/// The file's ending, in the place of the lock's.
const ENDING: &str = "record";

/// What a build does about its network.
pub struct Network {
    /// What its door does.
    pub mode: Mode,
    /// Where a new record goes.
    pub keep: Keep,
}

/// Where a new record goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Nowhere: the lock stays as it is.
    Nowhere,
    /// Into the cache; the image's lock names it.
    InCache,
    /// Into the cache and beside this lock file, which names it.
    Beside(PathBuf),
}

impl Network {
    /// Answers from this record and from nothing else.
    pub fn replay(record: Recording) -> Self {
        Self { mode: Mode::Replay(record), keep: Keep::Nowhere }
    }

    /// What `options` ask for, and what the lock, read from a file or just made, allows.
    pub fn of(
        lock: &Lock,
        is_file: bool,
        options: &LockOptions,
        offline: bool,
        context: &Context,
    ) -> miette::Result<Self> {
        let keep = if is_file { Keep::Beside(options.path.clone()) } else { Keep::InCache };
        let beside = record_path(&options.path);
        let record = |previous, update| Mode::Record { previous, update };
        let mode = match (lock.record, &options.update) {
            (Some(digest), None) => Mode::Replay(find(digest, &beside, context)?),
            (Some(digest), Some(update)) => record(Some(find(digest, &beside, context)?), update.clone()),
            (None, _) if options.locked || offline => return Err(unrecorded(&options.path)),
            (None, Some(update)) => record(left_over(&beside, is_file)?, update.clone()),
            // After `carafe lock` the old record still says which packages were taken: only what
            // it does not have is asked for, so that one changed app moves no other's packages.
            (None, None) => match left_over(&beside, is_file)? {
                Some(previous) => record(Some(previous), Update::Only(Vec::new())),
                None => record(None, Update::All),
            },
        };
        Ok(Self { mode, keep })
    }

    /// What is needed to do again what `lock` did. Where its record is not at hand, all is asked
    /// for again, which gives the same record if the outside gives the same answers.
    pub fn again(lock: &Lock, context: &Context) -> miette::Result<Self> {
        let anew = Mode::Record { previous: None, update: Update::All };
        let Some(digest) = lock.record else { return Ok(Self { mode: anew, keep: Keep::Nowhere }) };
        if let Some(record) = stored(digest, context)? {
            return Ok(Self::replay(record));
        }
        let lost = "is not in this machine's cache: what bench downloads is fetched anew";
        context.progress.warn(format!("the record {digest} {lost}"));
        Ok(Self { mode: anew, keep: Keep::InCache })
    }
}

/// The lock of what was built: it names the record that the build was answered from. A new record
/// is kept in the cache, and beside the lock file if there is one.
pub fn settle(lock: Lock, traffic: Option<&Traffic>, keep: &Keep, context: &Context) -> miette::Result<Lock> {
    let Some(traffic) = traffic else { return Ok(Lock { record: None, ..lock }) };
    if !traffic.recorded || *keep == Keep::Nowhere {
        return Ok(lock);
    }
    let bytes = traffic.record.to_bytes();
    let lock = Lock { record: Some(Digest::of(&bytes)), ..lock };
    store(&bytes, context)?;
    if let Keep::Beside(path) = keep {
        let beside = record_path(path);
        atomic_write(&beside, &bytes)
            .into_diagnostic()
            .wrap_err_with(|| format!("failed to write the record `{}`", beside.display()))?;
        lock.write(path)?;
    }
    Ok(lock)
}

/// Keeps a record in the cache, where every later build that needs it finds it.
pub fn store(bytes: &[u8], context: &Context) -> miette::Result<()> {
    bucket(context)?.entry(&Digest::of(bytes).hex(), |directory| {
        let path = directory.join(ENDING);
        fs::write(&path, bytes).map_err(|source| CacheError::Io { verb: "write", path, source })
    })?;
    Ok(())
}

/// Keeps the record at `path` in the cache, if it is the one with this digest.
pub fn import(path: &Path, digest: Digest, context: &Context) -> miette::Result<()> {
    let bytes = read(path)?.ok_or_else(|| miette!("there is no record `{}`", path.display()))?;
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(miette!(
            help = "take it from the commit whose lock the image has; `carafe inspect --lock` prints that",
            "`{}` is another record: it is {found}, the lock says {digest}",
            path.display(),
        ));
    }
    Recording::parse(&bytes)?;
    store(&bytes, context)
}

/// The record with this digest, if the cache has it.
pub fn stored(digest: Digest, context: &Context) -> miette::Result<Option<Recording>> {
    let path = bucket(context)?.path().join(digest.hex()).join(ENDING);
    match read(&path)? {
        Some(bytes) if Digest::of(&bytes) == digest => Ok(Some(Recording::parse(&bytes)?)),
        _ => Ok(None),
    }
}

fn bucket(context: &Context) -> Result<Bucket, CacheError> {
    context.cache.bucket("records", 1)
}

/// Where the record of the lock at `lock_file` is.
pub fn record_path(lock_file: &Path) -> PathBuf {
    lock_file.with_extension(ENDING)
}

/// The record that a lock names.
pub fn find(digest: Digest, beside: &Path, context: &Context) -> miette::Result<Recording> {
    if let Some(bytes) = read(beside)? {
        let found = Digest::of(&bytes);
        if found == digest {
            return Ok(Recording::parse(&bytes)?);
        }
        return Err(miette!(
            help = "take both from the same commit; or record again with `carafe build --update` after removing it",
            "`{}` is not the record that the lock names: it is {found}, the lock says {digest}",
            beside.display(),
        ));
    }
    stored(digest, context)?.ok_or_else(|| {
        miette!(
            help = "commit it together with the lock; or record again: take `record` out of the lock and run `carafe build`",
            "failed to find the record {digest} that the lock names: neither `{}` nor the cache has it",
            beside.display(),
        )
    })
}

/// The record of an earlier lock in the same place.
fn left_over(beside: &Path, is_file: bool) -> miette::Result<Option<Recording>> {
    if !is_file {
        return Ok(None);
    }
    let parse = |bytes: Vec<u8>| {
        Recording::parse(&bytes).map_err(miette::Report::from).wrap_err_with(|| {
            format!("`{}` cannot be used; without it, everything is recorded anew", beside.display())
        })
    };
    read(beside)?.map(parse).transpose()
}

fn unrecorded(lock_file: &Path) -> miette::Report {
    let (lock, record) = (lock_file.display(), record_path(lock_file));
    let help = format!(
        "run `carafe build` once without `--locked` and `--offline`: it records what bench downloads; then commit `{lock}` and `{}`",
        record.display()
    );
    miette!(help = help, "nothing pins what bench downloads: `{lock}` names no record")
}

/// All of a file, up to a byte more than a record may have; nothing if there is none.
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
