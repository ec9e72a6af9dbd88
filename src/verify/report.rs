//! The result of `carafe verify`: whether the lock reproduces the image, and why not.

use std::collections::BTreeMap;
use std::fmt;

use carafe_layers::diff::{Cause, Difference, EntryChange, LayerChange};
use serde::Serialize;

use super::changed_inputs::{ChangedInput, InputKind, changed_inputs};
use super::level::Level;
use crate::diff::report::{DiffReport, DifferenceData, data_path, named, shown_path};
use crate::output::{CommandResult, Comparison, Content, Row, Section, Sides};

/// Why an image differs from its rebuild.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyCause {
    /// An input is different; the entries that it explains are not counted.
    ChangedInput,
    /// A member of the manifest or the config.
    Document,
    /// A cause of `carafe diff`.
    #[serde(untagged)]
    Diff(Cause),
}

impl fmt::Display for VerifyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChangedInput => f.write_str("changed-input"),
            Self::Document => f.write_str("document"),
            Self::Diff(cause) => cause.fmt(f),
        }
    }
}

/// An image compared with its rebuild.
pub struct VerifyReport<'a> {
    /// What must be equal.
    pub level: Level,
    /// Whether the images are equal at this level.
    pub equal: bool,
    /// Inputs that differ.
    pub changed: Vec<ChangedInput>,
    /// Entries that a changed input explains, each with the index of this input in [`Self::changed`].
    pub explained: Vec<(usize, EntryChange<'a>)>,
    /// All other differences; `want` is the rebuilt image.
    pub rest: DiffReport<'a>,
}

impl<'a> VerifyReport<'a> {
    /// Decides whether the images are equal, and separates the entries that changed inputs explain.
    pub fn new(level: Level, mut diff: DiffReport<'a>) -> Self {
        let equal = level.is_met(diff.want, diff.got, &diff.documents, &diff.entries);
        let changed = changed_inputs(diff.want, diff.got, &diff.frappe);
        // These are among the changed inputs.
        let frappe = &mut diff.frappe;
        frappe.inputs.clear();
        frappe.apps.clear();
        frappe.python_packages.clear();
        frappe.node_packages.clear();
        let mut explained = Vec::new();
        for change in std::mem::take(&mut diff.entries) {
            match changed.iter().position(|input| input.explains(change.path())) {
                Some(at) => explained.push((at, change)),
                None => diff.entries.push(change),
            }
        }
        Self { level, equal, changed, explained, rest: diff }
    }

    /// Why the images differ: changed inputs, members of documents, causes that concern complete layers,
    /// and the causes of the other entries; each with its count.
    pub fn causes(&self) -> BTreeMap<VerifyCause, u64> {
        let mut causes: BTreeMap<VerifyCause, u64> =
            self.rest.causes().into_iter().map(|(cause, count)| (VerifyCause::Diff(cause), count)).collect();
        let of_layers = self.rest.layers.iter().flat_map(|layer: &LayerChange| layer.causes.keys());
        for cause in of_layers.filter(|cause| is_of_layers(**cause)) {
            *causes.entry(VerifyCause::Diff(*cause)).or_insert(0) += 1;
        }
        let documents = self.rest.documents.len();
        let own = [(VerifyCause::ChangedInput, self.changed.len()), (VerifyCause::Document, documents)];
        causes.extend(
            own.map(|(cause, count)| (cause, count as u64)).into_iter().filter(|(_, count)| *count > 0),
        );
        causes
    }
}

impl Comparison for VerifyReport<'_> {
    fn sides(&self) -> Sides {
        self.rest.sides()
    }

    fn verdict(&self) -> String {
        let level = self.level.name();
        match (self.equal, self.level) {
            (true, Level::Bytes) => {
                format!("reproduced ({level}): its lock produces this manifest, this config and these layers")
            }
            (true, Level::Layers) => {
                format!("reproduced ({level}): its lock produces this config and the tars of these layers")
            }
            (true, Level::Tree) => {
                format!("reproduced ({level}): its lock produces this tree and this container configuration")
            }
            (false, _) => {
                let causes = self.causes();
                let causes: Vec<_> = causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
                format!("not reproduced ({level}): {}", causes.join(", "))
            }
        }
    }

    fn sections(&self) -> Vec<Section<'_>> {
        let mut sections = vec![
            Section::of("changed inputs", &self.changed, changed),
            Section {
                title: "entries that a changed input explains".to_owned(),
                total: self.explained.len(),
                rows: Box::new(
                    self.explained.iter().map(|(at, change)| explained(&self.changed[*at], change)),
                ),
            },
        ];
        sections.retain(|section| section.total > 0);
        sections.extend(self.rest.sections());
        sections
    }
}

/// Whether a cause applies to layers, not to entries.
fn is_of_layers(cause: Cause) -> bool {
    matches!(cause, Cause::Compression | Cause::Order | Cause::Framing)
}

fn changed(input: &ChangedInput) -> Row {
    Row { name: input.label(), ..named(&input.change) }
}

fn explained(input: &ChangedInput, change: &EntryChange<'_>) -> Row {
    let [want, got] = sides(change.differences());
    Row { name: format!("{} [{}]", shown_path(change), input.label()), want, got }
}

fn sides(differences: Vec<Difference>) -> [String; 2] {
    let joined = |side: fn(&Difference) -> &String| {
        differences.iter().map(|one| side(one).as_str()).collect::<Vec<_>>().join(" ")
    };
    [joined(|one| &one.want), joined(|one| &one.got)]
}

impl CommandResult for VerifyReport<'_> {
    fn content(&self) -> Content<'_> {
        Content::Comparison(self)
    }
}

impl Serialize for VerifyReport<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Data<'a> {
            level: Level,
            equal: bool,
            causes: BTreeMap<VerifyCause, u64>,
            changed_inputs: &'a [ChangedInput],
            explained_entries: Vec<ExplainedData<'a>>,
            diff: &'a DiffReport<'a>,
        }
        #[derive(Serialize)]
        struct ExplainedData<'a> {
            path: String,
            input: InputData<'a>,
            differences: Vec<DifferenceData>,
        }
        #[derive(Serialize)]
        struct InputData<'a> {
            kind: InputKind,
            name: &'a str,
        }
        let explained = |(at, change): &(usize, EntryChange<'_>)| ExplainedData {
            path: data_path(change),
            input: InputData { kind: self.changed[*at].kind, name: &self.changed[*at].change.name },
            differences: DifferenceData::list(change),
        };
        Data {
            level: self.level,
            equal: self.equal,
            causes: self.causes(),
            changed_inputs: &self.changed,
            explained_entries: self.explained.iter().map(explained).collect(),
            diff: &self.rest,
        }
        .serialize(serializer)
    }
}
