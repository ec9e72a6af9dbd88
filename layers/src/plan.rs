//! Assigns entries to layers: a pure function.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroUsize;

use crate::path::ImagePath;
use crate::pattern::{Rule, decide};
use crate::tree::Entry;

/// A layer's name, for messages and the image's history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LayerName(String);

impl LayerName {
    /// The layer for entries that no rule matches. It is the topmost layer, unless a rule names it.
    pub const REST: &'static str = "rest";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for LayerName {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The entries of one layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The layer's name.
    pub name: LayerName,
    /// Sorted by path. Includes the parent directories of all entries, up to the root of their source
    /// mapping, so that the layer can be applied alone.
    pub entries: Vec<Entry>,
}

impl Group {
    /// The total size of the files' contents in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }
}

/// Assigns each entry (sorted, as [`crate::walk::walk`] lists them) to a layer, bottom first.
///
/// - [`decide`] selects the layer of files, links and empty directories; without a matching rule it is
///   [`LayerName::REST`].
/// - A directory that is not empty is in every layer that has an entry below it.
/// - Layers are in the order in which the rules first name them; empty layers are omitted.
/// - While there are more than `max_layers`, the two adjacent layers with the smallest total content are
///   merged; among equals, those nearest to the top.
pub fn plan(entries: &[Entry], rules: &[Rule<LayerName>], max_layers: NonZeroUsize) -> Vec<Group> {
    let (order, rest) = order(rules);
    let index: HashMap<&[u8], usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.path.as_bytes(), at)).collect();
    let parents: BTreeSet<usize> = entries.iter().filter_map(|entry| parent(&index, &entry.path)).collect();
    let mut layers = vec![BTreeSet::new(); order.len()];
    for (at, entry) in entries.iter().enumerate().filter(|(at, _)| !parents.contains(at)) {
        let layer = decide(rules, &entry.path).and_then(|name| order.get(name).copied()).unwrap_or(rest);
        add(&mut layers[layer], &index, entries, at);
    }
    let mut names: Vec<(&LayerName, usize)> = order.iter().map(|(name, &at)| (name, at)).collect();
    names.sort_by_key(|&(_, at)| at);
    let mut layers: Vec<Layer> =
        names.into_iter().map(|(name, at)| (name.clone(), std::mem::take(&mut layers[at]))).collect();
    layers.retain(|(_, members)| !members.is_empty());
    while layers.len() > max_layers.get() {
        merge_smallest(&mut layers, entries);
    }
    layers.into_iter().map(|(name, members)| group(name, &members, entries)).collect()
}

/// A layer's name and the positions of its members in the list of entries.
type Layer = (LayerName, BTreeSet<usize>);

/// The position of each layer, and that of [`LayerName::REST`]: last, unless a rule names it.
fn order(rules: &[Rule<LayerName>]) -> (BTreeMap<LayerName, usize>, usize) {
    let mut order = BTreeMap::new();
    let rest = LayerName::from(LayerName::REST);
    for name in rules.iter().map(|rule| &rule.then).chain([&rest]) {
        let next = order.len();
        order.entry(name.clone()).or_insert(next);
    }
    let rest = order[&rest];
    (order, rest)
}

fn parent(index: &HashMap<&[u8], usize>, path: &ImagePath) -> Option<usize> {
    index.get(path.parent()?).copied()
}

/// Adds an entry and its parent directories. Stops at the first one that is already a member, since
/// its parents are members too.
fn add(layer: &mut BTreeSet<usize>, index: &HashMap<&[u8], usize>, entries: &[Entry], at: usize) {
    let mut next = Some(at);
    while let Some(at) = next.filter(|&at| layer.insert(at)) {
        next = parent(index, &entries[at].path);
    }
}

fn merge_smallest(layers: &mut Vec<Layer>, entries: &[Entry]) {
    let sizes: Vec<u64> =
        layers.iter().map(|(_, members)| members.iter().map(|&at| entries[at].size()).sum()).collect();
    let smallest = (0..layers.len() - 1).rev().min_by_key(|&at| sizes[at] + sizes[at + 1]);
    if let Some(at) = smallest {
        let (name, members) = layers.remove(at + 1);
        layers[at].0 = LayerName(format!("{}+{name}", layers[at].0));
        layers[at].1.extend(members);
    }
}

fn group(name: LayerName, members: &BTreeSet<usize>, entries: &[Entry]) -> Group {
    Group { name, entries: members.iter().map(|&at| entries[at].clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;
    use crate::tree::{EntryKind, Owner, SourceMapping};
    use std::sync::Arc;

    const MANY: NonZeroUsize = NonZeroUsize::new(100).unwrap();

    /// `path/` is a directory, `path:size` a file.
    fn tree(lines: &[&str]) -> Vec<Entry> {
        let owner = Owner { uid: 1, gid: 1 };
        let mapping = Arc::new(SourceMapping { host: "/h".into(), image: ImagePath::root(), owner });
        let entry = |line: &&str| {
            let (path, kind) = match line.split_once(':') {
                Some((path, size)) => {
                    (path, EntryKind::File { size: size.parse().unwrap(), executable: false })
                }
                None => (*line, EntryKind::Directory),
            };
            Entry { path: ImagePath::new(path).unwrap(), kind, mtime: 0, mapping: mapping.clone() }
        };
        lines.iter().map(entry).collect()
    }

    fn rule(prefix: &str, component: Option<&str>, layer: &str) -> Rule<LayerName> {
        let pattern = Pattern::under(ImagePath::new(prefix).unwrap());
        Rule::new(component.map_or(pattern.clone(), |name| pattern.containing(name)), layer.into())
    }

    fn show(groups: &[Group]) -> Vec<String> {
        let line = |group: &Group| {
            let paths: Vec<String> = group.entries.iter().map(|entry| entry.path.to_string()).collect();
            format!("{}: {}", group.name, paths.join(" "))
        };
        groups.iter().map(line).collect()
    }

    fn bench() -> (Vec<Entry>, Vec<Rule<LayerName>>) {
        let entries = tree(&[
            "b/",
            "b/apps/",
            "b/apps/f/",
            "b/apps/f/a.py:10",
            "b/apps/f/node_modules/",
            "b/apps/f/node_modules/m:50",
            "b/apps/x/",
            "b/apps/x/x.py:3",
            "b/env/",
            "b/env/py:100",
            "b/logs/",
            "b/sites/",
            "b/sites/apps.txt:1",
        ]);
        let rules = vec![
            rule("b/env", None, "env"),
            rule("b/apps", Some("node_modules"), "modules"),
            rule("b/apps/f", None, "f"),
            rule("b/apps/x", None, "x"),
            rule("b/nothing", None, "nothing"),
        ];
        (entries, rules)
    }

    #[test]
    fn every_layer_contains_the_parent_directories_of_its_entries() {
        let (entries, rules) = bench();
        assert_eq!(
            show(&plan(&entries, &rules, MANY)),
            [
                "env: b b/env b/env/py",
                "modules: b b/apps b/apps/f b/apps/f/node_modules b/apps/f/node_modules/m",
                "f: b b/apps b/apps/f b/apps/f/a.py",
                "x: b b/apps b/apps/x b/apps/x/x.py",
                "rest: b b/logs b/sites b/sites/apps.txt",
            ]
        );
    }

    #[test]
    fn a_layer_limit_merges_the_smallest_adjacent_layers() {
        let (entries, rules) = bench();
        let names = |max: usize| {
            let groups = plan(&entries, &rules, NonZeroUsize::new(max).unwrap());
            groups.iter().map(|group| group.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(4), ["env", "modules", "f", "x+rest"]);
        assert_eq!(names(3), ["env", "modules", "f+x+rest"]);
        let one = plan(&entries, &rules, NonZeroUsize::MIN);
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].entries, entries);
    }

    #[test]
    fn among_equal_layers_the_upper_ones_are_merged() {
        let entries = tree(&["a:1", "b:1", "c:1"]);
        let rules = [rule("a", None, "a"), rule("b", None, "b"), rule("c", None, "c")];
        let groups = plan(&entries, &rules, NonZeroUsize::new(2).unwrap());
        assert_eq!(show(&groups), ["a: a", "b+c: b c"]);
    }

    #[test]
    fn no_entries_make_no_layers() {
        assert_eq!(plan(&[], &bench().1, MANY), []);
    }

    #[test]
    fn a_rule_can_position_the_rest() {
        let entries = tree(&["a:1", "b:1"]);
        let rules = [rule("none", None, LayerName::REST), rule("b", None, "b")];
        assert_eq!(show(&plan(&entries, &rules, MANY)), ["rest: a", "b: b"]);
    }

    /// Files at these paths and their parent directories. A path that is the parent of another is a
    /// directory.
    fn tree_of(paths: &BTreeSet<Vec<char>>) -> Vec<Entry> {
        let parents: BTreeSet<&[char]> =
            paths.iter().flat_map(|path| (1..path.len()).map(|end| &path[..end])).collect();
        let all: BTreeSet<&[char]> = paths.iter().map(Vec::as_slice).chain(parents.iter().copied()).collect();
        let line = |path: &&[char]| {
            let name = path.iter().map(char::to_string).collect::<Vec<_>>().join("/");
            if parents.contains(path) { format!("{name}/") } else { format!("{name}:{}", path.len()) }
        };
        tree(&all.iter().map(line).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())
    }

    proptest::proptest! {
        #[test]
        fn each_file_is_in_one_layer_and_each_layer_has_its_directories(
            paths in proptest::collection::btree_set(
                proptest::collection::vec(proptest::char::range('a', 'd'), 1..5), 0..24),
            rules in proptest::collection::vec(("[a-d](/[a-d])?", "[x-z]"), 0..5),
            max_layers in 1usize..6,
        ) {
            let entries = tree_of(&paths);
            let rules: Vec<_> = rules.iter().map(|(prefix, layer)| rule(prefix, None, layer)).collect();
            let groups = plan(&entries, &rules, NonZeroUsize::new(max_layers).unwrap());
            proptest::prop_assert!(groups.len() <= max_layers && groups.iter().all(|group| !group.entries.is_empty()));
            for entry in &entries {
                let layers = groups.iter().filter(|group| group.entries.contains(entry)).count();
                let is_file = entry.kind != EntryKind::Directory;
                proptest::prop_assert!(layers == 1 || (layers > 1 && !is_file), "{} in {layers}", entry.path);
            }
            for group in &groups {
                let paths: Vec<&[u8]> = group.entries.iter().map(|entry| entry.path.as_bytes()).collect();
                proptest::prop_assert!(paths.is_sorted_by(|one, next| one < next));
                let has_parent = |entry: &Entry| {
                    entry.path.parent().is_none_or(|parent| parent.is_empty() || paths.contains(&parent))
                };
                proptest::prop_assert!(group.entries.iter().all(has_parent), "{}", group.name);
            }
        }
    }
}
