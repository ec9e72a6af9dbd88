//! The file system of a container: all layers merged, whiteouts applied, and every path resolved through
//! the links of the lower layers (`lib/x` is `usr/lib/x` if `lib` is a link to `usr/lib`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::listing::{Item, Listing};
use crate::digest::Digest;
use crate::tar_reader::Kind;
use crate::unpack::{AUFS, EntryError, OPAQUE, UnpackError, WHITEOUT, join, names_reversed, split, within};

/// Maximum number of links followed for one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Maximum length of a path while its links are resolved, in bytes, as in the kernel.
const MAX_PATH_BYTES: u64 = 4095;

/// Maximum total length of the paths that differ from those of their entries because of links, in bytes.
const MAX_RESOLVED_BYTES: u64 = 32 << 20;

/// The entry at a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// The entry.
    pub item: &'a Item,
    /// The entry with its content: another one only for a hard link.
    pub file: &'a Item,
}

/// Entries by path.
#[derive(Default)]
pub(super) struct Tree<'a> {
    pub nodes: BTreeMap<Cow<'a, [u8]>, Node<'a>>,
    /// Total length of the paths that differ from those of their entries.
    resolved_bytes: u64,
}

impl<'a> Tree<'a> {
    /// The tree of a single layer: whiteouts are entries, and hard links have no content.
    pub(super) fn of_layer(listing: &'a Listing) -> Self {
        let node = |item: &'a Item| (Cow::Borrowed(&*item.path), Node { item, file: item });
        Self { nodes: listing.items.iter().map(node).collect(), resolved_bytes: 0 }
    }

    /// Adds a layer on top. Its whiteouts hide the entries of lower layers, independent of their position
    /// in the layer.
    pub(super) fn apply(&mut self, listing: &'a Listing, layer: Digest) -> Result<(), UnpackError> {
        for item in &listing.items {
            self.apply_whiteout(item).map_err(|error| error.at(layer, &item.path))?;
        }
        for item in &listing.items {
            self.insert(item).map_err(|error| error.at(layer, &item.path))?;
        }
        Ok(())
    }

    /// The files, sorted by path.
    pub(super) fn files(&self) -> Vec<&'a Item> {
        let nodes = self.nodes.values();
        nodes.filter(|node| node.item.kind == Kind::File).map(|node| node.item).collect()
    }

    /// Does nothing for an item that is not a whiteout.
    fn apply_whiteout(&mut self, item: &'a Item) -> Result<(), EntryError> {
        let (above, name) = split(&item.path);
        if above.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT) && !name.starts_with(AUFS))
        {
            return EntryError::malformed("an entry is inside a whiteout");
        }
        if name == OPAQUE {
            let directory = self.resolve(above)?;
            self.remove_below(&directory);
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|_| !name.starts_with(AUFS)) {
            if matches!(hidden, b"" | b"." | b"..") {
                return EntryError::malformed("the whiteout has no name");
            }
            let path = join(&self.resolve(above)?, hidden);
            self.nodes.remove(path.as_slice());
            self.remove_below(&path);
        }
        Ok(())
    }

    /// Does nothing for a whiteout.
    fn insert(&mut self, item: &'a Item) -> Result<(), EntryError> {
        if item.path.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
            return Ok(());
        }
        let file = match item.kind {
            Kind::HardLink => match self.nodes.get(&*self.resolve_parent(&item.link)?) {
                Some(node) => node.file,
                None => return EntryError::malformed("the target of the hard link does not exist"),
            },
            _ => item,
        };
        let path = self.resolve_parent(&item.path)?;
        if let Cow::Owned(path) = &path {
            self.resolved_bytes += path.len() as u64;
            within("bytes of paths through links", self.resolved_bytes, MAX_RESOLVED_BYTES)?;
        }
        self.remove_replaced(&path, item.kind);
        self.nodes.insert(path, Node { item, file });
        Ok(())
    }

    /// The path with all links in its parents resolved.
    fn resolve_parent<'p>(&self, path: &'p [u8]) -> Result<Cow<'p, [u8]>, EntryError> {
        let (above, name) = split(path);
        Ok(match self.resolve(above)? {
            Cow::Borrowed(_) => Cow::Borrowed(path),
            Cow::Owned(directory) => Cow::Owned(join(&directory, name)),
        })
    }

    /// The directory's path with all links resolved; owned if it contains one.
    fn resolve<'p>(&self, directory: &'p [u8]) -> Result<Cow<'p, [u8]>, EntryError> {
        let is_directory = |node: &Node<'_>| node.item.kind == Kind::Directory;
        // The path of a node contains no links.
        if directory.is_empty() || self.nodes.get(directory).is_some_and(is_directory) {
            return Ok(Cow::Borrowed(directory));
        }
        let mut resolved = Vec::new();
        let mut pending: Vec<&[u8]> = names_reversed(directory).collect();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                resolved.truncate(split(&resolved).0.len());
                continue;
            }
            let next = join(&resolved, name);
            within("bytes in one path", next.len() as u64, MAX_PATH_BYTES)?;
            match self.nodes.get(next.as_slice()).filter(|node| node.file.kind == Kind::Symlink) {
                None => resolved = next,
                Some(node) => {
                    links += 1;
                    let target = &*node.file.link;
                    if links > MAX_LINKS || target.len() as u64 > MAX_PATH_BYTES {
                        return EntryError::malformed(
                            "the path contains too many links, or one that is too long",
                        );
                    }
                    if target.starts_with(b"/") {
                        resolved.clear();
                    }
                    pending.extend(names_reversed(target));
                }
            }
        }
        Ok(if links == 0 { Cow::Borrowed(directory) } else { Cow::Owned(resolved) })
    }

    /// Removes what a new entry replaces: the content of a directory that becomes a file, and parents
    /// that are not directories.
    fn remove_replaced(&mut self, path: &[u8], kind: Kind) {
        let is_directory = |node: &Node<'_>| node.item.kind == Kind::Directory;
        if kind != Kind::Directory && self.nodes.get(path).is_some_and(is_directory) {
            self.remove_below(path);
        }
        let mut above = split(path).0;
        while !above.is_empty() {
            match self.nodes.get(above).map(|node| node.item.kind) {
                Some(Kind::Directory) => return,
                None => {}
                Some(_) => {
                    self.nodes.remove(above);
                }
            }
            above = split(above).0;
        }
    }

    fn remove_below(&mut self, directory: &[u8]) {
        if directory.is_empty() {
            self.nodes.retain(|path, _| path.is_empty());
            return;
        }
        // In byte order, the content of `directory` is between `directory/` and `directory0`.
        let (from, to) = ([directory, b"/"].concat(), [directory, b"0"].concat());
        let bounds = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let below: Vec<_> = self.nodes.range::<[u8], _>(bounds).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }
}
