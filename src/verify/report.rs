//! What `carafe verify` prints: whether an image is what its lock gives, and why not.

use std::collections::BTreeMap;
use std::io::{self, Write};

use carafe_layers::diff::{Cause, Difference, EntryChange, LayerChange};
use serde::Serialize;

use crate::diff::report::{DiffReport, named, shown_path};
use crate::output::sections::{self, Form, Report, Row, Section, Sides};
use crate::verify::{Level, MovedInput, moved_inputs};

/// The cause of what a moved input brought with it.
const MOVED_INPUT: &str = "moved-input";
/// The cause of a member of manifest or config.
const DOCUMENT: &str = "document";

/// An image against its rebuild.
pub struct VerifyReport<'a> {
    /// What had to be the same.
    pub level: Level,
    /// Whether it is.
    pub equal: bool,
    /// Inputs that moved.
    pub moved: Vec<MovedInput>,
    /// Entries that a moved input explains, each with its place in [`Self::moved`].
    pub explained: Vec<(usize, EntryChange<'a>)>,
    /// All that differs otherwise; `want` is the rebuilt image.
    pub rest: DiffReport<'a>,
}

impl<'a> VerifyReport<'a> {
    /// Judges what differs, and puts aside what moved inputs explain.
    pub fn new(level: Level, mut diff: DiffReport<'a>) -> Self {
        let equal = level.is_met(diff.want, diff.got, &diff.documents, &diff.entries);
        let moved = moved_inputs(diff.want, diff.got, &diff.frappe);
        // They are among the moved inputs now.
        let frappe = &mut diff.frappe;
        frappe.inputs.clear();
        frappe.apps.clear();
        frappe.python_packages.clear();
        frappe.node_packages.clear();
        let mut explained = Vec::new();
        for change in std::mem::take(&mut diff.entries) {
            match moved.iter().position(|input| input.explains(change.path())) {
                Some(at) => explained.push((at, change)),
                None => diff.entries.push(change),
            }
        }
        Self { level, equal, moved, explained, rest: diff }
    }

    /// Prints it; at most [`MAX_SHOWN_ROWS`](super::MAX_SHOWN_ROWS) of each kind unless `all` are asked for.
    pub fn write(&self, out: &mut impl Write, form: Form, all: bool) -> io::Result<()> {
        sections::write(self, out, form, all)
    }

    /// Why the images differ: moved inputs, members of documents, what concerns whole layers, and
    /// the other entries; each with how many there are.
    pub fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes: BTreeMap<String, u64> =
            self.rest.causes().into_iter().map(|(cause, count)| (cause.to_string(), count)).collect();
        let of_layers = self.rest.layers.iter().flat_map(|layer: &LayerChange| layer.causes.keys());
        for cause in of_layers.filter(|cause| is_of_layers(**cause)) {
            *causes.entry(cause.to_string()).or_insert(0) += 1;
        }
        for (cause, count) in [(MOVED_INPUT, self.moved.len()), (DOCUMENT, self.rest.documents.len())] {
            if count > 0 {
                causes.insert(cause.to_owned(), count as u64);
            }
        }
        causes
    }
}

impl Report for VerifyReport<'_> {
    fn sides(&self) -> Sides {
        self.rest.sides()
    }

    fn verdict(&self) -> String {
        let level = match self.level {
            Level::Bytes => "bytes",
            Level::Layers => "layers",
            Level::Tree => "tree",
        };
        match (self.equal, self.level) {
            (true, Level::Bytes) => {
                format!("equal ({level}): its lock gives this manifest, this config and these layers")
            }
            (true, Level::Layers) => {
                format!("equal ({level}): its lock gives this config and the tars in these layers")
            }
            (true, Level::Tree) => format!("equal ({level}): its lock gives this tree, run in this way"),
            (false, _) => {
                let causes = self.causes();
                let causes: Vec<_> = causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
                format!("different ({level}): {}", causes.join(", "))
            }
        }
    }

    fn sections(&self) -> Vec<Section<'_>> {
        let mut sections = vec![
            Section::of("moved inputs", &self.moved, moved),
            Section {
                title: "entries that a moved input explains".to_owned(),
                total: self.explained.len(),
                rows: Box::new(self.explained.iter().map(|(at, change)| explained(&self.moved[*at], change))),
            },
        ];
        sections.retain(|section| section.total > 0);
        sections.extend(self.rest.sections());
        sections
    }
}

/// Causes that no entry has.
fn is_of_layers(cause: Cause) -> bool {
    matches!(cause, Cause::Compression | Cause::Order | Cause::Framing)
}

fn moved(input: &MovedInput) -> Row {
    Row { name: input.label(), ..named(&input.change) }
}

fn explained(input: &MovedInput, change: &EntryChange<'_>) -> Row {
    let [want, got] = sides(change.differences());
    Row { name: format!("{} [{}]", shown_path(change), input.label()), want, got }
}

fn sides(differences: Vec<Difference>) -> [String; 2] {
    let joined = |side: fn(&Difference) -> &String| {
        differences.iter().map(|one| side(one).as_str()).collect::<Vec<_>>().join(" ")
    };
    [joined(|one| &one.want), joined(|one| &one.got)]
}

impl Serialize for VerifyReport<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Document<'a> {
            event: &'static str,
            level: Level,
            equal: bool,
            causes: BTreeMap<String, u64>,
            moved_inputs: &'a [MovedInput],
            explained: Vec<Explained>,
            diff: &'a DiffReport<'a>,
        }
        #[derive(Serialize)]
        struct Explained {
            path: String,
            because: String,
            differences: Vec<Difference>,
        }
        let explained = |(at, change): &(usize, EntryChange<'_>)| Explained {
            path: String::from_utf8_lossy(change.path()).into_owned(),
            because: self.moved[*at].label(),
            differences: change.differences(),
        };
        Document {
            event: "result",
            level: self.level,
            equal: self.equal,
            causes: self.causes(),
            moved_inputs: &self.moved,
            explained: self.explained.iter().map(explained).collect(),
            diff: &self.rest,
        }
        .serialize(serializer)
    }
}
