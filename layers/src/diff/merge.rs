//! The tree that a container sees: layer upon layer, whiteouts applied, and every path through
//! the links that are there when its layer comes (`lib/x` is `usr/lib/x` where `lib` is a link).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::listing::{Item, Listing};
use crate::digest::Digest;
use crate::unpack::{AUFS, Fault, OPAQUE, UnpackError, WHITEOUT, within};
use crate::untar::Kind;

/// Links followed on the way to one entry, as in the kernel.
const MAX_LINKS: usize = 40;

/// A path through links is no longer than this, as in the kernel.
const MAX_PATH_BYTES: u64 = 4095;

/// All paths that had to be written anew because they led through links have together at most
/// this many bytes.
const MAX_REWRITTEN_BYTES: u64 = 32 << 20;

/// What is at a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// The entry.
    pub item: &'a Item,
    /// What has its content: another entry only for a hard link.
    pub file: &'a Item,
}

/// Entries by path.
#[derive(Default)]
pub(super) struct Tree<'a> {
    pub nodes: BTreeMap<Cow<'a, [u8]>, Node<'a>>,
    /// Bytes of the paths that are not the entries' own.
    rewritten: u64,
}

impl<'a> Tree<'a> {
    /// A layer by itself: whiteouts are entries, and hard links have no content.
    pub(super) fn of_layer(listing: &'a Listing) -> Self {
        let node = |item: &'a Item| (Cow::Borrowed(&*item.path), Node { item, file: item });
        Self { nodes: listing.items.iter().map(node).collect(), rewritten: 0 }
    }

    /// Puts a layer on top. Its whiteouts hide what lower layers brought, wherever they stand.
    pub(super) fn apply(&mut self, listing: &'a Listing, layer: Digest) -> Result<(), UnpackError> {
        for item in &listing.items {
            self.hide(item).map_err(|fault| fault.at(layer, &item.path))?;
        }
        for item in &listing.items {
            self.place(item).map_err(|fault| fault.at(layer, &item.path))?;
        }
        Ok(())
    }

    /// The files, in the order of their paths.
    pub(super) fn files(&self) -> Vec<&'a Item> {
        let nodes = self.nodes.values();
        nodes.filter(|node| node.item.kind == Kind::File).map(|node| node.item).collect()
    }

    fn hide(&mut self, item: &'a Item) -> Result<(), Fault> {
        let (above, name) = split(&item.path);
        if above.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT) && !name.starts_with(AUFS))
        {
            return Fault::malformed("something inside a whiteout");
        }
        if name == OPAQUE {
            let folder = self.folder(above)?;
            self.remove_below(&folder);
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|_| !name.starts_with(AUFS)) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Fault::malformed("a whiteout of no name");
            }
            let path = join(&self.folder(above)?, hidden);
            self.nodes.remove(path.as_slice());
            self.remove_below(&path);
        }
        Ok(())
    }

    fn place(&mut self, item: &'a Item) -> Result<(), Fault> {
        if item.path.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT)) {
            return Ok(());
        }
        let file = match item.kind {
            Kind::HardLink => match self.nodes.get(&*self.through_links(&item.link)?) {
                Some(node) => node.file,
                None => return Fault::malformed("a hard link to what is not there"),
            },
            _ => item,
        };
        let path = self.through_links(&item.path)?;
        if let Cow::Owned(path) = &path {
            self.rewritten += path.len() as u64;
            within("bytes of paths through links", self.rewritten, MAX_REWRITTEN_BYTES)?;
        }
        self.make_way(&path, item.kind);
        self.nodes.insert(path, Node { item, file });
        Ok(())
    }

    /// The path as it is without links above its last name.
    fn through_links<'p>(&self, path: &'p [u8]) -> Result<Cow<'p, [u8]>, Fault> {
        let (above, name) = split(path);
        Ok(match self.folder(above)? {
            Cow::Borrowed(_) => Cow::Borrowed(path),
            Cow::Owned(folder) => Cow::Owned(join(&folder, name)),
        })
    }

    /// The folder's path without links; owned where there is one on the way.
    fn folder<'p>(&self, folder: &'p [u8]) -> Result<Cow<'p, [u8]>, Fault> {
        // What has a node of its own is reached without links.
        if folder.is_empty() || self.nodes.get(folder).is_some_and(|node| node.item.kind == Kind::Directory) {
            return Ok(Cow::Borrowed(folder));
        }
        let mut reached = Vec::new();
        let mut ahead: Vec<&[u8]> = names_reversed(folder).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                reached.truncate(split(&reached).0.len());
                continue;
            }
            let next = join(&reached, name);
            within("bytes in one path", next.len() as u64, MAX_PATH_BYTES)?;
            match self.nodes.get(next.as_slice()).filter(|node| node.file.kind == Kind::Symlink) {
                None => reached = next,
                Some(node) => {
                    links += 1;
                    let target = &*node.file.link;
                    if links > MAX_LINKS || target.len() as u64 > MAX_PATH_BYTES {
                        return Fault::malformed("too many links on the way, or one that is too long");
                    }
                    if target.starts_with(b"/") {
                        reached.clear();
                    }
                    ahead.extend(names_reversed(target));
                }
            }
        }
        Ok(if links == 0 { Cow::Borrowed(folder) } else { Cow::Owned(reached) })
    }

    /// A file in the place of a folder hides what is in it, and so does a folder's content a file
    /// in the place of the folder.
    fn make_way(&mut self, path: &[u8], kind: Kind) {
        let is_folder = |node: &Node<'_>| node.item.kind == Kind::Directory;
        if kind != Kind::Directory && self.nodes.get(path).is_some_and(is_folder) {
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

    fn remove_below(&mut self, folder: &[u8]) {
        if folder.is_empty() {
            self.nodes.retain(|path, _| path.is_empty());
            return;
        }
        // In the order of bytes, a folder's content lies between `folder/` and `folder0`.
        let (from, to) = ([folder, b"/"].concat(), [folder, b"0"].concat());
        let bounds = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let below: Vec<_> = self.nodes.range::<[u8], _>(bounds).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }
}

fn names_reversed(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// `folder/name`.
fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// A path's folder and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
