//! Referrers: manifests that describe another manifest, their `subject` (signatures, SBOMs,
//! provenance). Registries without the referrers API, and OCI layouts, list them in an index under a
//! tag that is derived from the subject's digest.

use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::json::canonical_json;
use crate::oci::{Descriptor, Document, Index, StringMap, media_type};
use crate::source::{ImageSource, SourceError, parse, read_document};

/// The tag of the index that lists the referrers of `subject`. The distribution specification calls
/// it the referrers tag schema.
pub fn tag(subject: &Digest) -> String {
    format!("{TAG}{}", subject.hex())
}

/// Whether `name` is a tag of the referrers tag schema, and not the name of an image.
pub fn is_tag(name: &str) -> bool {
    name.strip_prefix(TAG).is_some_and(|hex| format!("sha256:{hex}").parse::<Digest>().is_ok())
}

const TAG: &str = "sha256-";

/// A manifest that refers to another, as an index lists it.
#[derive(Clone, PartialEq, Debug)]
pub struct Referrer {
    /// The manifest that it refers to, which may not exist.
    pub subject: Digest,
    /// The manifest itself, with its type and its annotations.
    pub descriptor: Descriptor,
}

impl Referrer {
    /// `None` if the document has no subject, or is not JSON.
    pub fn of(document: &Document) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            subject: Descriptor,
            artifact_type: Option<String>,
            config: Option<Descriptor>,
            #[serde(default)]
            annotations: Option<StringMap>,
        }
        let head: Head = serde_json::from_slice(&document.bytes).ok()?;
        let Descriptor { media_type, digest, size, .. } = &document.descriptor;
        let mut descriptor = Descriptor::new(media_type, *digest, *size);
        descriptor.annotations = head.annotations.unwrap_or_default();
        let kind = head.artifact_type.filter(|kind| !kind.is_empty());
        if let Some(kind) = kind.or(head.config.map(|config| config.media_type)) {
            descriptor.extra.insert("artifactType".to_owned(), Value::from(kind));
        }
        Some(Self { subject: head.subject.digest, descriptor })
    }
}

/// The index that lists `referrers`, each once, sorted by digest.
pub fn list(referrers: impl IntoIterator<Item = Descriptor>) -> Document {
    let mut manifests: Vec<_> = referrers.into_iter().collect();
    manifests.sort_by_key(|descriptor| descriptor.digest);
    manifests.dedup_by_key(|descriptor| descriptor.digest);
    Document::new(media_type::INDEX, canonical_json(&Index::of(manifests)))
}

/// Reads the index that [`list`] makes.
pub(crate) fn read(source: &dyn ImageSource, list: &Descriptor) -> Result<Vec<Descriptor>, SourceError> {
    let index: Index = parse(source, "index", &read_document(source, "index", list)?)?;
    Ok(index.manifests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(value: &Value) -> Document {
        Document::new(media_type::MANIFEST, value.to_string().into_bytes())
    }

    #[test]
    fn a_referrer_has_a_subject_and_a_type() {
        let subject = Descriptor::of(media_type::MANIFEST, b"image");
        let config = Descriptor::of("application/vnd.example.config", b"{}");
        let with = |extra: Value| {
            let mut value = json!({"config": config, "layers": [], "subject": subject});
            value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            Referrer::of(&document(&value)).unwrap()
        };
        let typed = with(json!({"artifactType": "application/spdx+json", "annotations": {"a": "b"}}));
        assert_eq!(typed.subject, subject.digest);
        assert_eq!(typed.descriptor.extra["artifactType"], "application/spdx+json");
        assert_eq!(typed.descriptor.annotations["a"], "b");
        assert_eq!(with(json!({})).descriptor.extra["artifactType"], config.media_type.as_str());
        assert_eq!(Referrer::of(&document(&json!({"config": config, "layers": []}))), None);
        assert_eq!(Referrer::of(&document(&json!([]))), None);
    }

    #[test]
    fn a_list_is_independent_of_order_and_duplicates() {
        let [one, two] = ["one", "two"].map(|text| Descriptor::of("x", text.as_bytes()));
        let list = |of: &[&Descriptor]| super::list(of.iter().map(|&descriptor| descriptor.clone()));
        assert_eq!(list(&[&one, &two]), list(&[&two, &one, &two]));
        assert_ne!(list(&[&one]), list(&[&two]));
    }

    #[test]
    fn recognizes_referrers_tags() {
        assert!(is_tag(&tag(&Digest::of(b"x"))));
        for name in ["sha256-12", "latest", "sha256-", &format!("{}.sig", tag(&Digest::of(b"x")))] {
            assert!(!is_tag(name), "{name}");
        }
    }
}
