//! Applies the entries of one layer after another to the tree, and rejects invalid ones.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::rc::Rc;

use rustix::fs::Mode;

use super::error::{EntryError, UnpackError, failed_to};
use super::limits::{UnpackLimits, within};
use super::paths::{AUFS, OPAQUE, WHITEOUT, join, normalize, split};
use super::stats::UnpackStats;
use super::stream::TarStream;
use super::tree::{Canonical, Directory, Missing, Tree, finish_file, set_link_mtime};
use crate::digest::Digest;
use crate::tar_reader::{Kind, Member, TarReader};

/// The mtime of implicit directories, a constant so that the same layers give the same tree.
const IMPLICIT_MTIME: i64 = 0;

const OPEN_PARENT: &str = "open the parent directory of";

const SET_IDS: u32 = 0o6000;
const OWNER_FILE: u32 = 0o600;
const OWNER_DIRECTORY: u32 = 0o700;

/// Applies layers to a tree, the lowest first.
pub(super) struct LayerApplier<'a> {
    tree: Tree,
    limits: &'a UnpackLimits,
    stats: UnpackStats,
    path_bytes: u64,
    /// The directories' mtimes, set at the end, because creating an entry changes that of its parent.
    directory_mtimes: BTreeMap<Canonical, i64>,
    /// Whether there is a lower layer.
    has_lower_layer: bool,
    /// Paths of this layer's entries and of their parents, which its whiteouts do not hide. Empty for
    /// the lowest layer, whose whiteouts have no effect.
    own_paths: HashSet<Canonical>,
    /// Paths of this layer's skipped entries: hard links may refer to them.
    skipped: HashSet<Canonical>,
}

impl<'a> LayerApplier<'a> {
    pub(super) fn new(tree: Tree, limits: &'a UnpackLimits) -> Self {
        Self {
            tree,
            limits,
            stats: UnpackStats::default(),
            path_bytes: 0,
            directory_mtimes: BTreeMap::from([(Canonical::new(), IMPLICIT_MTIME)]),
            has_lower_layer: false,
            own_paths: HashSet::new(),
            skipped: HashSet::new(),
        }
    }

    pub(super) fn limits(&self) -> &'a UnpackLimits {
        self.limits
    }

    /// Tar bytes of all layers so far.
    pub(super) fn tar_bytes(&self) -> u64 {
        self.stats.tar_bytes
    }

    /// Applies a layer's tar, and reads the stream to its end.
    pub(super) fn apply(&mut self, tar: &mut TarStream<'_>, layer: Digest) -> Result<(), UnpackError> {
        let mut last = Vec::new();
        let applied = self.apply_members(tar, &mut last);
        let applied = match applied {
            Err(error) if !error.may_be_damage() => Err(error),
            outcome => tar.drain().map_err(EntryError::from).and(outcome),
        };
        self.stats.tar_bytes += tar.bytes();
        self.has_lower_layer = true;
        self.own_paths.clear();
        self.skipped.clear();
        applied.map_err(|error| error.at(layer, &last))
    }

    /// Sets the directories' mtimes, and returns the statistics.
    pub(super) fn finish(self) -> io::Result<UnpackStats> {
        for (path, mtime) in &self.directory_mtimes {
            self.tree.set_directory_mtime(path, *mtime)?;
        }
        Ok(self.stats)
    }

    /// `last` receives the name of each member, for the error.
    fn apply_members(&mut self, tar: &mut TarStream<'_>, last: &mut Vec<u8>) -> Result<(), EntryError> {
        let mut tar = TarReader::new(tar);
        while let Some(member) = tar.next_member()? {
            last.clone_from(&member.name);
            self.count(&member)?;
            let path = normalize(&member.name, self.limits)?;
            self.apply_member(&member, &path, &mut tar)?;
        }
        Ok(())
    }

    fn count(&mut self, member: &Member) -> Result<(), EntryError> {
        self.stats.entries += 1;
        self.stats.other_owners += u64::from(member.owner != (0, 0));
        self.stats.xattrs_dropped += u64::from(member.xattrs);
        self.stats.set_ids_dropped += u64::from(member.mode & SET_IDS != 0);
        within("entries", self.stats.entries, self.limits.entries)?;
        self.count_path(member.name.len() + member.link.len())?;
        within("bytes in one file", member.size, self.limits.file_bytes)
    }

    /// Counts the bytes of a path that was read or is stored.
    fn count_path(&mut self, path_bytes: usize) -> Result<(), EntryError> {
        self.path_bytes += path_bytes as u64;
        within("bytes of all paths", self.path_bytes, self.limits.all_path_bytes)
    }

    fn apply_member(
        &mut self,
        member: &Member,
        path: &[u8],
        tar: &mut TarReader<&mut TarStream<'_>>,
    ) -> Result<(), EntryError> {
        let (above, name) = split(path);
        if path.split(|byte| *byte == b'/').any(|name| name.starts_with(AUFS) && name != OPAQUE) {
            self.stats.skipped += 1;
            return Ok(());
        }
        if above.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
            return EntryError::malformed("an entry is inside a whiteout");
        }
        if name.starts_with(WHITEOUT) {
            return self.apply_whiteout(above, name);
        }
        if name.is_empty() {
            return self.set_root(member);
        }
        let parent = self.open_parent(above)?;
        let canonical = join(&parent.path, name);
        self.skipped.remove(&canonical);
        self.add_own_path(canonical)?;
        match member.kind {
            Kind::File => self.create_file(member, &parent, name, tar),
            Kind::Directory => self.create_directory(member, &parent, name),
            Kind::Symlink => self.create_symlink(member, &parent, name),
            Kind::HardLink => self.create_hard_link(member, &parent, name),
            Kind::Device | Kind::Fifo => self.skip(&parent, name),
        }
    }

    /// The directory at `path`. Creates missing directories, which count as entries.
    fn open_parent(&mut self, path: &[u8]) -> Result<Rc<Directory>, EntryError> {
        let parent = self.tree.open(path, Missing::Create).map_err(failed_to(OPEN_PARENT))?;
        for implicit in self.tree.take_implicit() {
            self.stats.entries += 1;
            within("entries", self.stats.entries, self.limits.entries)?;
            self.set_directory_mtime(implicit, IMPLICIT_MTIME)?;
        }
        Ok(parent)
    }

    /// Stores the mtime for [`Self::finish`]; the last one of a directory is effective.
    fn set_directory_mtime(&mut self, directory: Canonical, mtime: i64) -> Result<(), EntryError> {
        self.count_path(directory.len())?;
        self.directory_mtimes.insert(directory, mtime);
        Ok(())
    }

    /// Applies the entry `.`: the root's own mode and mtime.
    fn set_root(&mut self, member: &Member) -> Result<(), EntryError> {
        if member.kind != Kind::Directory {
            return EntryError::malformed("the root is not a directory");
        }
        self.set_directory_mtime(Canonical::new(), member.mtime)?;
        self.tree.set_root_mode(directory_mode(member)).map_err(failed_to("set the mode of"))
    }

    fn create_file(
        &mut self,
        member: &Member,
        parent: &Directory,
        name: &[u8],
        tar: &mut TarReader<&mut TarStream<'_>>,
    ) -> Result<(), EntryError> {
        let mut file = self.tree.create_file(parent, name).map_err(failed_to("create the file"))?;
        loop {
            let chunk = tar.chunk()?;
            if chunk.is_empty() {
                break;
            }
            file.write_all(chunk).map_err(failed_to("write the file"))?;
            let length = chunk.len();
            tar.consume(length);
        }
        self.stats.bytes += member.size;
        let mode = Mode::from_raw_mode(member.mode & !SET_IDS | OWNER_FILE);
        finish_file(&file, mode, member.mtime).map_err(failed_to("set the mode and mtime of"))
    }

    fn create_directory(
        &mut self,
        member: &Member,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), EntryError> {
        self.set_directory_mtime(join(&parent.path, name), member.mtime)?;
        let created = self.tree.create_directory(parent, name, directory_mode(member));
        created.map_err(failed_to("create the directory"))
    }

    fn create_symlink(&mut self, member: &Member, parent: &Directory, name: &[u8]) -> Result<(), EntryError> {
        let target = &member.link;
        if target.is_empty() || target.contains(&0) {
            return EntryError::malformed("the target of the symbolic link is not a path");
        }
        self.tree.create_symlink(parent, name, target).map_err(failed_to("create the symbolic link"))?;
        set_link_mtime(parent, name, member.mtime).map_err(failed_to("set the mtime of"))
    }

    fn create_hard_link(
        &mut self,
        member: &Member,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), EntryError> {
        let target = normalize(&member.link, self.limits)?;
        if target.is_empty() {
            return EntryError::malformed("the target of the hard link is the root");
        }
        if self.skipped.contains(&target) {
            return self.skip(parent, name);
        }
        self.tree.create_hard_link(parent, name, &target).map_err(failed_to("create the hard link"))
    }

    /// Skips an entry, but removes what it would have replaced.
    fn skip(&mut self, parent: &Directory, name: &[u8]) -> Result<(), EntryError> {
        self.stats.skipped += 1;
        self.count_path(parent.path.len() + name.len())?;
        self.skipped.insert(join(&parent.path, name));
        match self.tree.remove(parent, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed_to("replace")(error)),
            _ => Ok(()),
        }
    }

    /// Applies a whiteout to the entries of lower layers, independent of the order of this layer's
    /// entries.
    fn apply_whiteout(&mut self, above: &[u8], whiteout: &[u8]) -> Result<(), EntryError> {
        self.stats.whiteouts += 1;
        let hidden = &whiteout[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return EntryError::malformed("the whiteout has no name");
        }
        if !self.has_lower_layer {
            return Ok(());
        }
        let Some(parent) = self.open_existing(above)? else { return Ok(()) };
        match whiteout == OPAQUE {
            true => self.tree.hide_children(&parent, &self.own_paths),
            false => self.tree.hide(&parent, hidden, &self.own_paths),
        }
        .map_err(failed_to("apply the whiteout"))
    }

    /// The directory at `path`; `None` if it does not exist, so that there is nothing to hide.
    fn open_existing(&mut self, path: &[u8]) -> Result<Option<Rc<Directory>>, EntryError> {
        match self.tree.open(path, Missing::Fail) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(failed_to(OPEN_PARENT)(error)),
        }
    }

    /// Adds a path of this layer and its parents to [`Self::own_paths`].
    fn add_own_path(&mut self, mut path: Canonical) -> Result<(), EntryError> {
        while self.has_lower_layer && !path.is_empty() && !self.own_paths.contains(&path) {
            self.count_path(path.len())?;
            let above = split(&path).0.to_vec();
            self.own_paths.insert(std::mem::replace(&mut path, above));
        }
        Ok(())
    }
}

fn directory_mode(member: &Member) -> Mode {
    Mode::from_raw_mode(member.mode & !SET_IDS | OWNER_DIRECTORY)
}
