//! Two trees against each other: which paths differ, and why.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::listing::Item;
use super::merge::{Node, Tree};
use crate::path::printable;
use crate::time::rfc3339;
use crate::untar::Kind;

/// Why two images differ somewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The same tar, compressed otherwise (layers alone).
    Compression,
    /// The same things in another order (layers alone).
    Order,
    /// The same entries, written otherwise: the headers' form, names of owners, padding (layers
    /// alone).
    Framing,
    /// Modification time.
    Mtime,
    /// Mode bits.
    Mode,
    /// User or group.
    Owner,
    /// Where a link points.
    LinkTarget,
    /// A file here is a folder or a link there, or one device another.
    Kind,
    /// Extended attributes and other PAX records.
    Xattr,
    /// What is in a file.
    Content,
    /// The header of compiled Python, and not the code.
    PycHeader,
    /// Only the second image has it.
    Added,
    /// Only the first image has it.
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

/// One cause, and what is on either side, for people. What is in a file's name or a link is made
/// [`printable`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Why.
    pub cause: Cause,
    /// In the first image; empty where it has nothing there.
    pub want: String,
    /// In the second image; empty where it has nothing there.
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
    /// From the root; empty for the root itself.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Every cause, at least one.
    pub fn differences(&self) -> Vec<Difference> {
        let (want, got) = match (self.want, self.got) {
            (Some(want), Some(got)) => (want, got),
            (want, got) => {
                let cause = if want.is_none() { Cause::Added } else { Cause::Removed };
                let shown = |node: Option<Node<'_>>| node.map(described).unwrap_or_default();
                return vec![Difference { cause, want: shown(want), got: shown(got) }];
            }
        };
        let causes = causes(want, got).into_iter();
        causes
            .map(|cause| Difference { cause, want: shown(cause, want, got), got: shown(cause, got, want) })
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

/// Every path that is not the same in both trees.
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
    let mut note = |cause, differs: bool| {
        if differs {
            causes.push(cause);
        }
    };
    let is_other_link = one.kind == other.kind && one.link != other.link;
    let is_other_device = is_other_link && one.kind == Kind::Device;
    note(Cause::Kind, one.kind != other.kind || is_other_device);
    note(Cause::LinkTarget, is_other_link && !is_other_device);
    let has_content = [want, got].map(|node| node.file.kind == Kind::File);
    let content = (want.file.content, want.file.size) != (got.file.content, got.file.size);
    let content = content && has_content == [true, true];
    let same_code = match (&want.file.pyc, &got.file.pyc) {
        (Some(want), Some(got)) => want.same_code(got),
        _ => false,
    };
    note(Cause::Content, content && !same_code);
    note(Cause::PycHeader, content && same_code);
    note(Cause::Mode, one.mode != other.mode);
    note(Cause::Owner, one.owner != other.owner);
    note(Cause::Mtime, one.mtime != other.mtime);
    note(Cause::Xattr, one.records != other.records);
    causes
}

/// The side of `node`, for a cause.
fn shown(cause: Cause, node: Node<'_>, other: Node<'_>) -> String {
    let item = node.item;
    match cause {
        Cause::Mtime => rfc3339(item.mtime).unwrap_or_else(|| item.mtime.to_string()),
        Cause::Mode => format!("{:04o}", item.mode),
        Cause::Owner => format!("{}:{}", item.owner.0, item.owner.1),
        Cause::LinkTarget => printable(&item.link),
        Cause::Xattr => records(item, other.item),
        Cause::Content => format!("{} ({} bytes)", node.file.content, node.file.size),
        Cause::PycHeader => node.file.pyc.as_ref().map(ToString::to_string).unwrap_or_default(),
        _ => described(node),
    }
}

/// The records that the other side has not, or has otherwise.
fn records(item: &Item, other: &Item) -> String {
    let own = item.records.iter().filter(|record| !other.records.contains(record));
    own.map(|(key, value)| format!("{}={value}", printable(key))).collect::<Vec<_>>().join(" ")
}

fn described(node: Node<'_>) -> String {
    let item = node.item;
    match item.kind {
        Kind::File => format!("file {} ({} bytes)", item.content, item.size),
        Kind::HardLink => format!("hard link to {}", printable(&item.link)),
        Kind::Symlink => format!("link to {}", printable(&item.link)),
        Kind::Directory => "folder".to_owned(),
        Kind::Device => format!("device {}", printable(&item.link)),
        Kind::Fifo => "fifo".to_owned(),
    }
}
