//! The tree that a container sees: layer upon layer, whiteouts applied.

use std::collections::BTreeMap;

use super::listing::{Item, Listing};
use crate::digest::Digest;
use crate::unpack::{AUFS, Fault, OPAQUE, UnpackError, WHITEOUT};
use crate::untar::Kind;

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
    pub nodes: BTreeMap<&'a [u8], Node<'a>>,
}

impl<'a> Tree<'a> {
    /// A layer by itself: whiteouts are entries, and hard links have no content.
    pub(super) fn of_layer(listing: &'a Listing) -> Self {
        let node = |item: &'a Item| (&*item.path, Node { item, file: item });
        Self { nodes: listing.items.iter().map(node).collect() }
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
            self.remove_below(above);
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|_| !name.starts_with(AUFS)) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Fault::malformed("a whiteout of no name");
            }
            let path = if above.is_empty() { hidden.to_vec() } else { [above, b"/", hidden].concat() };
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
            Kind::HardLink => match self.nodes.get(&*item.link) {
                Some(node) => node.file,
                None => return Fault::malformed("a hard link to what is not there"),
            },
            _ => item,
        };
        self.make_way(item);
        self.nodes.insert(&item.path, Node { item, file });
        Ok(())
    }

    /// A file in the place of a folder hides what is in it, and so does a folder's content a file
    /// in the place of the folder.
    fn make_way(&mut self, item: &Item) {
        let is_folder = |node: &Node<'_>| node.item.kind == Kind::Directory;
        if item.kind != Kind::Directory && self.nodes.get(&*item.path).is_some_and(is_folder) {
            self.remove_below(&item.path);
        }
        let mut above = split(&item.path).0;
        while !above.is_empty() {
            match self.nodes.get(above).map(|node| node.item.kind) {
                Some(Kind::Directory) => return,
                // What is below a link is left as the layer has it.
                Some(Kind::Symlink) | None => {}
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
        let below = self.nodes.range::<[u8], _>((
            std::ops::Bound::Included(from.as_slice()),
            std::ops::Bound::Excluded(to.as_slice()),
        ));
        let below: Vec<&[u8]> = below.map(|(path, _)| *path).collect();
        for path in below {
            self.nodes.remove(path);
        }
    }
}

/// A path's folder and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
