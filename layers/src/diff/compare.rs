//! Compares two trees: the paths that differ, and the causes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::listing::Item;
use super::merge::{Node, Tree};
use crate::tar_reader::Kind;
use crate::text::escape_bytes;
use crate::time::rfc3339;

/// Why a path, a layer or a document differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The same tar with another compression (only layers).
    Compression,
    /// The same entries or layers in another order (only layers).
    Order,
    /// The same entries in another encoding: form of headers, names of owners, padding (only layers).
    Framing,
    /// Modification time.
    Mtime,
    /// Mode bits.
    Mode,
    /// User or group.
    Owner,
    /// The target of a link.
    LinkTarget,
    /// The type of an entry (file, directory, link), or the numbers of a device.
    Kind,
    /// Extended attributes and other PAX records.
    Xattr,
    /// The content of a file.
    Content,
    /// The header of compiled Python, with the same code.
    PycHeader,
    /// Exists only in the second image.
    Added,
    /// Exists only in the first image.
    Removed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Compression => "compression",
            Self::Order => "order",
            Self::Framing => "framing",
            Self::Mtime => "mtime",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::LinkTarget => "link-target",
            Self::Kind => "kind",
            Self::Xattr => "xattr",
            Self::Content => "content",
            Self::PycHeader => "pyc-header",
            Self::Added => "added",
            Self::Removed => "removed",
        })
    }
}

/// One cause, with the values of both images for messages: see [`escape_bytes`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// The cause.
    pub cause: Cause,
    /// The value in the first image; empty if the path does not exist there.
    pub want: String,
    /// The value in the second image; empty if the path does not exist there.
    pub got: String,
}

/// A path that differs.
#[derive(Clone, Debug)]
pub struct EntryChange<'a> {
    path: Cow<'a, [u8]>,
    want: Option<Node<'a>>,
    got: Option<Node<'a>>,
}

impl EntryChange<'_> {
    /// The path relative to the root; empty for the root itself.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Every cause, at least one.
    pub fn differences(&self) -> Vec<Difference> {
        let (want, got) = match (self.want, self.got) {
            (Some(want), Some(got)) => (want, got),
            (want, got) => {
                let cause = if want.is_none() { Cause::Added } else { Cause::Removed };
                let value = |node: Option<Node<'_>>| node.map(description).unwrap_or_default();
                return vec![Difference { cause, want: value(want), got: value(got) }];
            }
        };
        let causes = causes(want, got).into_iter();
        causes
            .map(|cause| Difference { cause, want: value(cause, want, got), got: value(cause, got, want) })
            .collect()
    }

    /// Every cause, without the values.
    pub fn causes(&self) -> Vec<Cause> {
        match (self.want, self.got) {
            (Some(want), Some(got)) => causes(want, got),
            (None, _) => vec![Cause::Added],
            (_, None) => vec![Cause::Removed],
        }
    }
}

/// Every path that differs between the trees.
pub(super) fn compare<'a>(want: &Tree<'a>, got: &Tree<'a>) -> Vec<EntryChange<'a>> {
    let (mut wants, mut gots) = (want.nodes.iter().peekable(), got.nodes.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (wants.peek(), gots.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((want, _)), Some((got, _))) => want.cmp(got),
        };
        let want = if order.is_le() { wants.next() } else { None };
        let got = if order.is_ge() { gots.next() } else { None };
        let Some((path, _)) = want.or(got) else { return changes };
        let (want, got) = (want.map(|(_, node)| *node), got.map(|(_, node)| *node));
        let change = EntryChange { path: path.clone(), want, got };
        if !change.causes().is_empty() {
            changes.push(change);
        }
    }
}

fn causes(want: Node<'_>, got: Node<'_>) -> Vec<Cause> {
    let (one, other) = (want.item, got.item);
    let mut causes = Vec::new();
    let mut add = |cause, differs: bool| {
        if differs {
            causes.push(cause);
        }
    };
    let link_differs = one.kind == other.kind && one.link != other.link;
    let device_differs = link_differs && one.kind == Kind::Device;
    add(Cause::Kind, one.kind != other.kind || device_differs);
    add(Cause::LinkTarget, link_differs && !device_differs);
    let are_files = [want, got].map(|node| node.file.kind == Kind::File) == [true, true];
    let content_differs =
        are_files && (want.file.content, want.file.size) != (got.file.content, got.file.size);
    let has_same_code = match (&want.file.pyc, &got.file.pyc) {
        (Some(want), Some(got)) => want.same_code(got),
        _ => false,
    };
    add(Cause::Content, content_differs && !has_same_code);
    add(Cause::PycHeader, content_differs && has_same_code);
    add(Cause::Mode, one.mode != other.mode);
    add(Cause::Owner, one.owner != other.owner);
    add(Cause::Mtime, one.mtime != other.mtime);
    add(Cause::Xattr, one.records != other.records);
    causes
}

/// The value of `node` to which the cause refers.
fn value(cause: Cause, node: Node<'_>, other: Node<'_>) -> String {
    let item = node.item;
    match cause {
        Cause::Mtime => rfc3339(item.mtime).unwrap_or_else(|| item.mtime.to_string()),
        Cause::Mode => format!("{:04o}", item.mode),
        Cause::Owner => format!("{}:{}", item.owner.0, item.owner.1),
        Cause::LinkTarget => escape_bytes(&item.link),
        Cause::Xattr => records(item, other.item),
        Cause::Content => format!("{} ({} bytes)", node.file.content, node.file.size),
        Cause::PycHeader => node.file.pyc.as_ref().map(ToString::to_string).unwrap_or_default(),
        _ => description(node),
    }
}

/// The records of `item` that are missing or different in `other`.
fn records(item: &Item, other: &Item) -> String {
    let own = item.records.iter().filter(|record| !other.records.contains(record));
    own.map(|(key, value)| format!("{}={value}", escape_bytes(key))).collect::<Vec<_>>().join(" ")
}

fn description(node: Node<'_>) -> String {
    let item = node.item;
    match item.kind {
        Kind::File => format!("file {} ({} bytes)", item.content, item.size),
        Kind::HardLink => format!("hard link to {}", escape_bytes(&item.link)),
        Kind::Symlink => format!("link to {}", escape_bytes(&item.link)),
        Kind::Directory => "directory".to_owned(),
        Kind::Device => format!("device {}", escape_bytes(&item.link)),
        Kind::Fifo => "FIFO".to_owned(),
    }
}
