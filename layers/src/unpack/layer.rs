//! One layer after another onto the tree: what each entry means, and what is refused.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::rc::Rc;

use rustix::fs::Mode;

use super::error::{Fault, UnpackError, doing};
use super::stream::TarStream;
use super::tree::{Canonical, Folder, Missing, Tree, finish_file, join, set_link_mtime, split};
use super::{UnpackLimits, Unpacked};
use crate::digest::Digest;
use crate::untar::{Kind, Member, TarReader};

pub(crate) const WHITEOUT: &[u8] = b".wh.";
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS kept for itself and old Docker versions packed.
pub(crate) const AUFS: &[u8] = b".wh..wh.";

/// The mtime of folders that no entry describes, so that the same layers give the same tree.
const IMPLIED_MTIME: i64 = 0;

const SET_IDS: u32 = 0o6000;
const OWNER_FILE: u32 = 0o600;
const OWNER_FOLDER: u32 = 0o700;

/// Applies layers to a tree, the base first.
pub(super) struct Applier<'a> {
    tree: Tree,
    limits: &'a UnpackLimits,
    tally: Unpacked,
    path_bytes: u64,
    /// Folders' mtimes, set at the end, because every entry in a folder moves its mtime.
    folder_mtimes: BTreeMap<Canonical, i64>,
    /// Whether there is a lower layer.
    base_done: bool,
    /// What this layer holds, and the folders on the way there: not hidden by its whiteouts.
    /// Left empty for the base, which has nothing to hide.
    here: HashSet<Canonical>,
    /// Paths of this layer that were left out, since hard links may name them.
    left_out: HashSet<Canonical>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(tree: Tree, limits: &'a UnpackLimits) -> Self {
        Self {
            tree,
            limits,
            tally: Unpacked::default(),
            path_bytes: 0,
            folder_mtimes: BTreeMap::from([(Canonical::new(), IMPLIED_MTIME)]),
            base_done: false,
            here: HashSet::new(),
            left_out: HashSet::new(),
        }
    }

    pub(super) fn limits(&self) -> &'a UnpackLimits {
        self.limits
    }

    /// Tar bytes of all layers so far.
    pub(super) fn tar_bytes(&self) -> u64 {
        self.tally.tar_bytes
    }

    /// Applies a layer's tar, and reads it to the stream's end.
    pub(super) fn apply(&mut self, tar: &mut TarStream<'_>, layer: Digest) -> Result<(), UnpackError> {
        let mut last = Vec::new();
        let applied = self.apply_members(tar, &mut last);
        let applied = match applied {
            Err(fault) if !fault.may_be_damage() => Err(fault),
            outcome => tar.drain().map_err(Fault::from).and(outcome),
        };
        self.tally.tar_bytes += tar.bytes();
        self.base_done = true;
        self.here.clear();
        self.left_out.clear();
        applied.map_err(|fault| fault.at(layer, &last))
    }

    /// Sets what has to be set last, and tells what became of it all.
    pub(super) fn finish(self) -> io::Result<Unpacked> {
        for (path, mtime) in &self.folder_mtimes {
            self.tree.set_folder_mtime(path, *mtime)?;
        }
        Ok(self.tally)
    }

    fn apply_members(&mut self, tar: &mut TarStream<'_>, last: &mut Vec<u8>) -> Result<(), Fault> {
        let mut tar = TarReader::new(tar);
        while let Some(member) = tar.next_member()? {
            last.clone_from(&member.name);
            self.count(&member)?;
            let path = normalise(&member.name, self.limits)?;
            self.place(&member, &path, &mut tar)?;
        }
        Ok(())
    }

    fn count(&mut self, member: &Member) -> Result<(), Fault> {
        self.tally.entries += 1;
        self.tally.other_owners += u64::from(member.owner != (0, 0));
        self.tally.xattrs_dropped += u64::from(member.xattrs);
        self.tally.set_ids_dropped += u64::from(member.mode & SET_IDS != 0);
        within("entries", self.tally.entries, self.limits.entries)?;
        self.charge(member.name.len() + member.link.len())?;
        within("bytes in one file", member.size, self.limits.file_bytes)
    }

    /// Counts bytes of a path that was read or is remembered.
    fn charge(&mut self, path_bytes: usize) -> Result<(), Fault> {
        self.path_bytes += path_bytes as u64;
        within("bytes of all paths", self.path_bytes, self.limits.all_path_bytes)
    }

    fn place(
        &mut self,
        member: &Member,
        path: &[u8],
        tar: &mut TarReader<&mut TarStream<'_>>,
    ) -> Result<(), Fault> {
        let (above, name) = split(path);
        if path.split(|byte| *byte == b'/').any(|name| name.starts_with(AUFS) && name != OPAQUE) {
            self.tally.left_out += 1;
            return Ok(());
        }
        if above.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
            return Fault::malformed("something inside a whiteout");
        }
        if name.starts_with(WHITEOUT) {
            return self.hide(above, name);
        }
        if name.is_empty() {
            return self.root(member);
        }
        let folder = self.folder(above)?;
        let canonical = join(&folder.path, name);
        self.left_out.remove(&canonical);
        self.remember(canonical)?;
        match member.kind {
            Kind::File => self.file(member, &folder, name, tar),
            Kind::Directory => self.directory(member, &folder, name),
            Kind::Symlink => self.symlink(member, &folder, name),
            Kind::HardLink => self.hard_link(member, &folder, name),
            Kind::Device | Kind::Fifo => self.leave_out(&folder, name),
        }
    }

    /// The folder at `path`; those that had to be made count as entries.
    fn folder(&mut self, path: &[u8]) -> Result<Rc<Folder>, Fault> {
        let folder = self.tree.folder(path, Missing::Create).map_err(doing("open its folder"))?;
        for implied in self.tree.take_implied() {
            self.tally.entries += 1;
            within("entries", self.tally.entries, self.limits.entries)?;
            self.set_folder_mtime(implied, IMPLIED_MTIME)?;
        }
        Ok(folder)
    }

    /// The last word counts, and is carried out at the end.
    fn set_folder_mtime(&mut self, folder: Canonical, mtime: i64) -> Result<(), Fault> {
        self.charge(folder.len())?;
        self.folder_mtimes.insert(folder, mtime);
        Ok(())
    }

    /// The entry `.`: the root's own mode and mtime.
    fn root(&mut self, member: &Member) -> Result<(), Fault> {
        if member.kind != Kind::Directory {
            return Fault::malformed("the root is no folder");
        }
        self.set_folder_mtime(Canonical::new(), member.mtime)?;
        self.tree.set_root_mode(folder_mode(member)).map_err(doing("set the mode"))
    }

    fn file(
        &mut self,
        member: &Member,
        folder: &Folder,
        name: &[u8],
        tar: &mut TarReader<&mut TarStream<'_>>,
    ) -> Result<(), Fault> {
        let mut file = self.tree.file(folder, name).map_err(doing("create the file"))?;
        loop {
            let chunk = tar.chunk()?;
            if chunk.is_empty() {
                break;
            }
            file.write_all(chunk).map_err(doing("write the file"))?;
            let length = chunk.len();
            tar.consume(length);
        }
        self.tally.bytes += member.size;
        let mode = Mode::from_raw_mode(member.mode & !SET_IDS | OWNER_FILE);
        finish_file(&file, mode, member.mtime).map_err(doing("set mode and time"))
    }

    fn directory(&mut self, member: &Member, folder: &Folder, name: &[u8]) -> Result<(), Fault> {
        self.set_folder_mtime(join(&folder.path, name), member.mtime)?;
        self.tree.directory(folder, name, folder_mode(member)).map_err(doing("create the folder"))
    }

    fn symlink(&mut self, member: &Member, folder: &Folder, name: &[u8]) -> Result<(), Fault> {
        let target = &member.link;
        if target.is_empty() || target.contains(&0) {
            return Fault::malformed("a symbolic link to no path");
        }
        self.tree.symlink(folder, name, target).map_err(doing("create the symbolic link"))?;
        set_link_mtime(folder, name, member.mtime).map_err(doing("set the time"))
    }

    fn hard_link(&mut self, member: &Member, folder: &Folder, name: &[u8]) -> Result<(), Fault> {
        let target = normalise(&member.link, self.limits)?;
        if target.is_empty() {
            return Fault::malformed("a hard link to the root");
        }
        if self.left_out.contains(&target) {
            return self.leave_out(folder, name);
        }
        self.tree.hard_link(folder, name, &target).map_err(doing("create the hard link"))
    }

    /// Removes what the entry would have replaced.
    fn leave_out(&mut self, folder: &Folder, name: &[u8]) -> Result<(), Fault> {
        self.tally.left_out += 1;
        self.charge(folder.path.len() + name.len())?;
        self.left_out.insert(join(&folder.path, name));
        match self.tree.remove(folder, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(doing("replace")(error)),
            _ => Ok(()),
        }
    }

    /// Applies a whiteout to what lower layers brought, whatever the order of this layer's
    /// entries.
    fn hide(&mut self, above: &[u8], whiteout: &[u8]) -> Result<(), Fault> {
        self.tally.whiteouts += 1;
        let hidden = &whiteout[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Fault::malformed("a whiteout of no name");
        }
        if !self.base_done {
            return Ok(());
        }
        let Some(folder) = self.existing(above)? else { return Ok(()) };
        match whiteout == OPAQUE {
            true => self.tree.hide_children(&folder, &self.here),
            false => self.tree.hide(&folder, hidden, &self.here),
        }
        .map_err(doing("apply the whiteout"))
    }

    /// The folder at `path`, if there is one: in what is not there, there is nothing to hide.
    fn existing(&mut self, path: &[u8]) -> Result<Option<Rc<Folder>>, Fault> {
        match self.tree.folder(path, Missing::Fail) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(doing("open its folder")(error)),
        }
    }

    /// Notes that this layer has something at `path`, and so the folders above it.
    fn remember(&mut self, mut path: Canonical) -> Result<(), Fault> {
        while self.base_done && !path.is_empty() && !self.here.contains(&path) {
            self.charge(path.len())?;
            let above = split(&path).0.to_vec();
            self.here.insert(std::mem::replace(&mut path, above));
        }
        Ok(())
    }
}

fn folder_mode(member: &Member) -> Mode {
    Mode::from_raw_mode(member.mode & !SET_IDS | OWNER_FOLDER)
}

pub(crate) fn within(what: &'static str, value: u64, limit: u64) -> Result<(), Fault> {
    if value > limit { Err(Fault::Limit { what, limit }) } else { Ok(()) }
}

/// A name in a tar as a path from the root: no empty names, no `.`; absolute ones begin at the
/// root. `..` is refused, because no honest tool writes it.
pub(crate) fn normalise(name: &[u8], limits: &UnpackLimits) -> Result<Vec<u8>, Fault> {
    if name.is_empty() || name.contains(&0) {
        return Fault::malformed("a path that is empty or holds NUL");
    }
    within("bytes in one path", name.len() as u64, limits.path_bytes as u64)?;
    let names: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&b"..".as_slice()) {
        return Fault::malformed("a path with `..`");
    }
    within("folders in one path", names.len() as u64, limits.depth as u64)?;
    Ok(names.join(&b'/'))
}
