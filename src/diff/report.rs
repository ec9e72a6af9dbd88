//! The result of `carafe diff`.

use std::collections::BTreeMap;

use carafe_builder::git::Distance;
use carafe_builder::spec::format_bytes;
use carafe_layers::diff::{
    Cause, Difference, DocumentChange, EntryChange, ImagePair, LayerChange, PlacedLayer, documents,
};
use carafe_layers::digest::Digest;
use carafe_layers::text::escape_bytes;
use carafe_layers::unpack::UnpackError;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::frappe::{AppChange, FrappeChanges, NameChange, frappe_changes};
use super::opened::Opened;
use crate::output::{CommandResult, Comparison, Content, Row, Section, Sides};

/// Everything that differs between two images.
pub struct DiffReport<'a> {
    /// The first image.
    pub want: &'a Opened,
    /// The second image.
    pub got: &'a Opened,
    /// In Frappe's terms.
    pub frappe: FrappeChanges,
    /// Members of manifest and config.
    pub documents: Vec<DocumentChange>,
    /// Layers.
    pub layers: Vec<LayerChange>,
    /// Paths of the merged trees.
    pub entries: Vec<EntryChange<'a>>,
}

impl<'a> DiffReport<'a> {
    /// Compares everything that was read.
    pub fn of(want: &'a Opened, got: &'a Opened, pair: &'a ImagePair<'a>) -> Result<Self, UnpackError> {
        let trees = pair.trees()?;
        Ok(Self {
            frappe: frappe_changes(want, got, &trees),
            documents: documents(&want.image, &got.image),
            layers: pair.layers(),
            entries: trees.entries(),
            want,
            got,
        })
    }

    /// Whether the images are the same, byte by byte: only then do their manifests have the same digest.
    pub fn equal(&self) -> bool {
        self.want.image.descriptor.digest == self.got.image.descriptor.digest
    }

    /// The number of entries with each cause.
    pub(crate) fn causes(&self) -> BTreeMap<Cause, u64> {
        let mut causes = BTreeMap::new();
        for cause in self.entries.iter().flat_map(EntryChange::causes) {
            *causes.entry(cause).or_insert(0) += 1;
        }
        causes
    }
}

impl Comparison for DiffReport<'_> {
    fn sides(&self) -> Sides {
        [self.want, self.got].map(|side| (side.source.name(), side.image.descriptor.digest.to_string()))
    }

    fn verdict(&self) -> String {
        if self.equal() {
            return "equal: the manifests are the same, and every layer of both images was verified"
                .to_owned();
        }
        let layers = self.want.image.manifest.layers.len().max(self.got.image.manifest.layers.len());
        let counted = match self.entries.is_empty() {
            true => "the trees are the same".to_owned(),
            false => self
                .causes()
                .iter()
                .map(|(cause, count)| format!("{cause} {count}"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        format!(
            "different: {} of {}, {} ({counted})",
            self.layers.len(),
            counted_noun(layers, "layer", "layers"),
            counted_noun(self.entries.len(), "entry", "entries"),
        )
    }

    fn sections(&self) -> Vec<Section<'_>> {
        let frappe = &self.frappe;
        let mut sections = vec![
            Section::of("inputs", &frappe.inputs, named),
            Section::of("apps", &frappe.apps, app),
            Section::of("python packages", &frappe.python_packages, named),
            Section::of("node packages", &frappe.node_packages, named),
            Section::of("assets", &frappe.assets, named),
            Section::of("hooks and patches", &frappe.hooks_and_patches, named),
            Section::of("manifest and config", &self.documents, document),
            Section::of("layers", &self.layers, layer),
        ];
        sections.extend(self.causes().into_iter().map(|(cause, count)| Section {
            title: format!("entries: {cause}"),
            total: count as usize,
            rows: Box::new(self.entries.iter().filter_map(move |change| entry(change, cause))),
        }));
        sections.retain(|section| section.total > 0);
        sections
    }
}

impl CommandResult for DiffReport<'_> {
    fn content(&self) -> Content<'_> {
        Content::Comparison(self)
    }
}

impl Serialize for DiffReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Data<'a> {
            equal: bool,
            want: ImageData,
            got: ImageData,
            frappe: &'a FrappeChanges,
            documents: &'a [DocumentChange],
            layers: &'a [LayerChange],
            causes: BTreeMap<Cause, u64>,
            entries: Entries<'a>,
        }
        #[derive(Serialize)]
        struct ImageData {
            name: String,
            digest: Digest,
        }
        let image =
            |side: &Opened| ImageData { name: side.source.name(), digest: side.image.descriptor.digest };
        Data {
            equal: self.equal(),
            want: image(self.want),
            got: image(self.got),
            frappe: &self.frappe,
            documents: &self.documents,
            layers: &self.layers,
            causes: self.causes(),
            entries: Entries(&self.entries),
        }
        .serialize(serializer)
    }
}

/// Serialized one by one: there may be as many as both images have entries.
struct Entries<'a>(&'a [EntryChange<'a>]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct EntryData {
            path: String,
            differences: Vec<DifferenceData>,
        }
        let entry = |change: &EntryChange<'_>| EntryData {
            path: data_path(change),
            differences: DifferenceData::list(change),
        };
        serializer.collect_seq(self.0.iter().map(entry))
    }
}

/// A path for programs: bytes that are not valid UTF-8 are replaced by U+FFFD.
pub(crate) fn data_path(change: &EntryChange<'_>) -> String {
    String::from_utf8_lossy(change.path()).into_owned()
}

/// A difference for programs: a side that does not have it is null.
#[derive(Serialize)]
pub(crate) struct DifferenceData {
    cause: Cause,
    want: Option<String>,
    got: Option<String>,
}

impl DifferenceData {
    /// All differences of an entry.
    pub(crate) fn list(change: &EntryChange<'_>) -> Vec<Self> {
        let side = |text: String| (!text.is_empty()).then_some(text);
        let data = |one: Difference| Self { cause: one.cause, want: side(one.want), got: side(one.got) };
        change.differences().into_iter().map(data).collect()
    }
}

pub(crate) fn named(change: &NameChange) -> Row {
    let shown = |version: &Option<String>| version.clone().unwrap_or_default();
    Row { name: change.name.clone(), want: shown(&change.want), got: shown(&change.got) }
}

fn app(change: &AppChange) -> Row {
    let mut row = named(&change.change);
    if let Some(Distance { ahead, behind }) = change.distance {
        let ahead = counted_noun(ahead as usize, "commit", "commits");
        row.got += &format!(" ({ahead} ahead, {behind} behind)");
    }
    row
}

fn document(change: &DocumentChange) -> Row {
    let pointer = match change.pointer.as_str() {
        "" => " (the same values, encoded differently)",
        pointer => pointer,
    };
    let shown = |value: &Option<Value>| value.as_ref().map(brief).unwrap_or_default();
    let name = format!("{}{}", change.document, escape_bytes(pointer.as_bytes()));
    Row { name, want: shown(&change.want), got: shown(&change.got) }
}

/// The beginning of a value: a label may contain a complete lock.
fn brief(value: &Value) -> String {
    const MAX_VALUE_CHARS: usize = 80;
    let text = escape_bytes(value.to_string().as_bytes());
    match text.chars().count() {
        0..=MAX_VALUE_CHARS => text,
        _ => text.chars().take(MAX_VALUE_CHARS).chain("...".chars()).collect(),
    }
}

fn layer(change: &LayerChange) -> Row {
    let causes: Vec<_> = change
        .causes
        .iter()
        .map(|(cause, count)| match cause {
            Cause::Compression | Cause::Order | Cause::Framing | Cause::Added | Cause::Removed
                if *count == 1 =>
            {
                cause.to_string()
            }
            _ => format!("{cause} {count}"),
        })
        .collect();
    let name = change.name.as_deref().map(|name| escape_bytes(name.as_bytes())).unwrap_or_default();
    let shown = |layer: &Option<PlacedLayer>| layer.as_ref().map(placed).unwrap_or_default();
    Row {
        name: format!("{name} [{}]", causes.join(", ")).trim_start().to_owned(),
        want: shown(&change.want),
        got: shown(&change.got),
    }
}

fn placed(layer: &PlacedLayer) -> String {
    format!("{}: {} ({})", layer.position, layer.digest, format_bytes(layer.size))
}

fn entry(change: &EntryChange<'_>, cause: Cause) -> Option<Row> {
    let found = change.differences().into_iter().find(|difference| difference.cause == cause)?;
    Some(Row { name: shown_path(change), want: found.want, got: found.got })
}

pub(crate) fn shown_path(change: &EntryChange<'_>) -> String {
    if change.path().is_empty() { "/".to_owned() } else { escape_bytes(change.path()) }
}

/// A number with its noun.
fn counted_noun(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
