//! Derives a config and a manifest from a base image and new layers.

use serde_json::Value;

use crate::json::canonical_json;
use crate::oci::{Descriptor, Extra, History, ImageConfig, Manifest, RuntimeConfig, StringMap, media_type};
use crate::pack::PackedLayer;
use crate::source::{MAX_LAYERS, ResolvedImage};
use crate::time::rfc3339;

/// The annotation that names the base image.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The annotation with the digest of the base image's manifest.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// The prefix of `created_by` in the history of Carafe's layers, before the layer's name.
const CREATED_BY_PREFIX: &str = "carafe: ";

const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/// The differences of an image from its base. Fields that are `None` or empty keep the base's value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImageChanges {
    /// `user[:group]`.
    pub user: Option<String>,
    /// The entrypoint. A new one removes the base's arguments, which were for another entrypoint, unless
    /// [`Self::cmd`] sets new ones (as in a Dockerfile).
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments.
    pub cmd: Option<Vec<String>>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// Directories that become volumes, in addition to the base's.
    pub volumes: Vec<String>,
    /// Variables and values. Each replaces the base's variable of that name, or is added at the end.
    pub env: Vec<(String, String)>,
    /// Labels. Each replaces the base's label of that name, or is added.
    pub labels: StringMap,
    /// Annotations of the manifest. The base's annotations describe the base and are not inherited.
    pub annotations: StringMap,
    /// The base's name, for [`BASE_NAME`]; [`BASE_DIGEST`] is always set.
    pub base_name: Option<String>,
    /// Seconds since 1970: the source date epoch, for every `created` member.
    pub created: i64,
    /// The comment of each new layer in the history.
    pub comment: Option<String>,
}

/// The documents of a new image, in their final bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Image {
    /// Names the manifest.
    pub descriptor: Descriptor,
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Names the config.
    pub config_descriptor: Descriptor,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The manifest's layers: the base's, then the new ones.
    pub layers: Vec<Descriptor>,
}

/// Why an image could not be derived.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DeriveError {
    /// More layers than runtimes can mount.
    #[error("failed to derive an image of {layers} layers: the limit is {MAX_LAYERS}")]
    #[diagnostic(help(
        "the base image has {base}; lower the maximum number of layers, or use a base image with fewer"
    ))]
    TooManyLayers {
        /// The number of the base's and the new layers.
        layers: usize,
        /// The number of the base's layers.
        base: usize,
    },
    /// RFC 3339 cannot express the time.
    #[error("failed to format {epoch} seconds as the creation time: it is outside the years 0 to 9999")]
    Time {
        /// Seconds since 1970.
        epoch: i64,
    },
}

/// The config and manifest of a new image: `base` with `layers` on top and with `changes`.
///
/// Unknown members of the base's config are kept. The new manifest is always an OCI manifest: Docker's
/// media types of layers become OCI's media types for the same bytes. This is a pure function that
/// writes canonical JSON: the same arguments give the same bytes.
pub fn derive(
    base: &ResolvedImage,
    layers: &[PackedLayer],
    changes: &ImageChanges,
) -> Result<Image, DeriveError> {
    let total = base.manifest.layers.len() + layers.len();
    if total > MAX_LAYERS {
        return Err(DeriveError::TooManyLayers { layers: total, base: base.manifest.layers.len() });
    }
    let created = rfc3339(changes.created).ok_or(DeriveError::Time { epoch: changes.created })?;
    let config = canonical_json(&config(base, layers, changes, &created));
    let config_descriptor = Descriptor::of(media_type::CONFIG, &config);
    let layers: Vec<Descriptor> = base
        .manifest
        .layers
        .iter()
        .map(with_oci_media_type)
        .chain(layers.iter().map(|layer| layer.descriptor.clone()))
        .collect();
    let manifest = canonical_json(&Manifest {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.to_owned()),
        config: config_descriptor.clone(),
        layers: layers.clone(),
        annotations: annotations(base, changes),
        extra: Extra::new(),
    });
    let descriptor = Descriptor::of(media_type::MANIFEST, &manifest);
    Ok(Image { descriptor, manifest, config_descriptor, config, layers })
}

/// The names of Carafe's layers in an image, the lowest first. `None` for layers that Carafe did not
/// create, and for all layers if the history does not have one step for each.
pub fn layer_names(image: &ResolvedImage) -> Vec<Option<&str>> {
    let steps: Vec<&History> = image.config.history.iter().filter(|step| !step.empty_layer).collect();
    let layers = image.manifest.layers.len();
    if steps.len() != layers {
        return vec![None; layers];
    }
    steps.iter().map(|step| step.created_by.as_deref()?.strip_prefix(CREATED_BY_PREFIX)).collect()
}

fn config(
    base: &ResolvedImage,
    layers: &[PackedLayer],
    changes: &ImageChanges,
    created: &str,
) -> ImageConfig {
    let mut config = base.config.clone();
    config.created = Some(created.to_owned());
    apply(changes, &mut config.config);
    config.history = history_of(&config.history, base.manifest.layers.len());
    for layer in layers {
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(History {
            created: Some(created.to_owned()),
            created_by: Some(format!("{CREATED_BY_PREFIX}{}", layer.name)),
            comment: changes.comment.clone(),
            ..History::default()
        });
    }
    config
}

fn apply(changes: &ImageChanges, config: &mut RuntimeConfig) {
    if changes.entrypoint.is_some() {
        config.entrypoint.clone_from(&changes.entrypoint);
        config.cmd = None;
    }
    if changes.cmd.is_some() {
        config.cmd.clone_from(&changes.cmd);
    }
    if changes.user.is_some() {
        config.user.clone_from(&changes.user);
    }
    if changes.working_dir.is_some() {
        config.working_dir.clone_from(&changes.working_dir);
    }
    if !changes.volumes.is_empty() {
        let volumes = changes.volumes.iter().map(|path| (path.clone(), Value::Object(Default::default())));
        config.volumes.get_or_insert_default().extend(volumes);
    }
    if !changes.labels.is_empty() {
        config.labels.get_or_insert_default().extend(changes.labels.clone());
    }
    for (name, value) in &changes.env {
        set_variable(&mut config.env, name, value);
    }
}

/// Replaces all variables of this name, at the position of the first one. A base may have several, and
/// which of them is effective depends on the program.
fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let has_name = |old: &String| old.split('=').next() == Some(name);
    let position = env.iter().position(has_name).unwrap_or(env.len());
    env.retain(|old| !has_name(old));
    env.insert(position, format!("{name}={value}"));
}

/// The base's history, if it has one entry for each layer. Otherwise readers could not assign entries
/// to layers (the new ones included), so each layer gets an entry that states this.
fn history_of(history: &[History], layers: usize) -> Vec<History> {
    if history.iter().filter(|entry| !entry.empty_layer).count() == layers {
        return history.to_vec();
    }
    let unknown = History {
        comment: Some("the base image's history does not match its layers".to_owned()),
        ..History::default()
    };
    vec![unknown; layers]
}

fn with_oci_media_type(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media_type::DOCKER_LAYER_GZIP => media_type::LAYER_GZIP,
        media_type::DOCKER_LAYER_TAR => media_type::LAYER_TAR,
        DOCKER_FOREIGN_LAYER => FOREIGN_LAYER,
        other => other,
    };
    Descriptor { media_type: media_type.to_owned(), ..layer.clone() }
}

fn annotations(base: &ResolvedImage, changes: &ImageChanges) -> StringMap {
    let mut annotations: StringMap = changes.annotations.clone();
    annotations.insert(BASE_DIGEST.to_owned(), base.descriptor.digest.to_string());
    if let Some(name) = &changes.base_name {
        annotations.insert(BASE_NAME.to_owned(), name.clone());
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{DiffId, Digest};

    const BASE_CONFIG: &str = r#"{"os":"linux","architecture":"amd64","moby.buildkit.x":[1],
        "config":{"Env":["PATH=/bin","LANG=C"],"Cmd":["bash"],"Healthcheck":{"Test":["NONE"]},"Labels":{"a":"1"}},
        "rootfs":{"type":"layers","diff_ids":["DIFF"]},
        "history":[{"created_by":"ADD rootfs"},{"created_by":"CMD","empty_layer":true}]}"#;

    fn base(history: bool) -> ResolvedImage {
        let config_bytes = BASE_CONFIG.replace("DIFF", &Digest::of(b"base tar").to_string()).into_bytes();
        let mut config: ImageConfig = serde_json::from_slice(&config_bytes).unwrap();
        if !history {
            config.history.truncate(0);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::DOCKER_MANIFEST.into()),
            config: Descriptor::of(media_type::DOCKER_CONFIG, &config_bytes),
            layers: vec![Descriptor::of(media_type::DOCKER_LAYER_GZIP, b"base layer")],
            annotations: StringMap::from([("about".into(), "the base".into())]),
            extra: Extra::new(),
        };
        let manifest_bytes = canonical_json(&manifest);
        let descriptor = Descriptor::of(media_type::DOCKER_MANIFEST, &manifest_bytes);
        ResolvedImage { root: descriptor.clone(), descriptor, manifest, manifest_bytes, config, config_bytes }
    }

    fn layer() -> PackedLayer {
        PackedLayer {
            name: "env".into(),
            descriptor: Descriptor::of(media_type::LAYER_GZIP, b"new"),
            diff_id: DiffId(Digest::of(b"new tar")),
            entries: 1,
            uncompressed: 7,
        }
    }

    fn changes() -> ImageChanges {
        ImageChanges {
            user: Some("frappe".into()),
            entrypoint: Some(vec!["entrypoint.sh".into()]),
            volumes: vec!["/logs".into()],
            env: vec![("LANG".into(), "C.UTF-8".into()), ("NEW".into(), "1=2".into())],
            labels: StringMap::from([("b".into(), "2".into())]),
            base_name: Some("docker.io/frappe/base:v15".into()),
            ..ImageChanges::default()
        }
    }

    fn read(image: &Image) -> (Value, Value) {
        (serde_json::from_slice(&image.config).unwrap(), serde_json::from_slice(&image.manifest).unwrap())
    }

    #[test]
    fn applies_the_changes_and_keeps_the_rest_of_the_base() {
        let (config, manifest) = read(&derive(&base(true), &[layer()], &changes()).unwrap());
        assert_eq!(config["created"], "1970-01-01T00:00:00Z");
        assert_eq!(config["moby.buildkit.x"][0], 1);
        assert_eq!(config["config"]["Healthcheck"]["Test"][0], "NONE");
        assert_eq!(config["config"]["Env"], serde_json::json!(["PATH=/bin", "LANG=C.UTF-8", "NEW=1=2"]));
        assert_eq!(config["config"]["Cmd"], Value::Null, "it was for another entrypoint");
        assert_eq!(config["config"]["Labels"], serde_json::json!({"a": "1", "b": "2"}));
        assert_eq!(config["config"]["Volumes"], serde_json::json!({"/logs": {}}));
        assert_eq!(config["rootfs"]["diff_ids"][1], Digest::of(b"new tar").to_string());
        assert_eq!(config["history"][2]["created_by"], "carafe: env");
        assert_eq!(manifest["mediaType"], media_type::MANIFEST);
        assert_eq!(manifest["layers"][0]["mediaType"], media_type::LAYER_GZIP);
        assert_eq!(manifest["layers"][0]["digest"], Digest::of(b"base layer").to_string());
        assert_eq!(manifest["annotations"][BASE_NAME], "docker.io/frappe/base:v15");
        assert_eq!(manifest["annotations"][BASE_DIGEST], base(true).descriptor.digest.to_string());
        assert_eq!(manifest["annotations"]["about"], Value::Null);
    }

    #[test]
    fn descriptors_match_the_bytes_of_the_documents() {
        let image = derive(&base(true), &[layer()], &changes()).unwrap();
        let manifest: Manifest = serde_json::from_slice(&image.manifest).unwrap();
        assert_eq!(image.descriptor, Descriptor::of(media_type::MANIFEST, &image.manifest));
        assert_eq!(manifest.config, Descriptor::of(media_type::CONFIG, &image.config));
        assert_eq!(manifest.layers, image.layers);
    }

    #[test]
    fn replaces_a_history_that_does_not_match_the_layers() {
        let (config, _) = read(&derive(&base(false), &[layer()], &changes()).unwrap());
        assert_eq!(config["history"].as_array().unwrap().len(), 2);
        assert_eq!(config["history"][0]["created_by"], Value::Null);
    }

    #[test]
    fn rejects_too_many_layers_and_impossible_times() {
        let many = vec![layer(); MAX_LAYERS];
        assert!(matches!(
            derive(&base(true), &many, &changes()),
            Err(DeriveError::TooManyLayers { layers: 128, base: 1 })
        ));
        let late = ImageChanges { created: i64::MAX, ..changes() };
        assert!(matches!(derive(&base(true), &[], &late), Err(DeriveError::Time { .. })));
    }

    proptest::proptest! {
        #[test]
        fn sets_variables_and_keeps_all_others(
            old in proptest::collection::btree_map("[A-C]{1,2}", "\\PC{0,6}", 0..6),
            new in proptest::collection::vec(("[A-C]{1,2}", "\\PC{0,6}"), 0..6),
        ) {
            let mut base = base(true);
            base.config.config.env = old.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let changes = ImageChanges { env: new.clone(), ..ImageChanges::default() };
            let image = derive(&base, &[layer()], &changes).unwrap();
            proptest::prop_assert_eq!(&derive(&base, &[layer()], &changes).unwrap().config, &image.config);
            let config: ImageConfig = serde_json::from_slice(&image.config).unwrap();
            proptest::prop_assert_eq!(&canonical_json(&config), &image.config);
            let found: Vec<_> =
                config.config.env.iter().map(|variable| variable.split_once('=').unwrap()).collect();
            let mut wanted = old;
            wanted.extend(new);
            proptest::prop_assert_eq!(found.len(), wanted.len());
            proptest::prop_assert!(found.iter().all(|(name, value)| wanted[*name] == **value));
        }
    }

    #[test]
    fn sets_a_variable_once_even_if_the_base_has_it_several_times() {
        let set = |env: &[&str], name| {
            let mut env = env.iter().map(|&pair| pair.to_owned()).collect();
            set_variable(&mut env, name, "new");
            env.join(" ")
        };
        assert_eq!(set(&["A=1", "B=2", "A=3", "AB=4"], "A"), "A=new B=2 AB=4");
        assert_eq!(set(&["A=1", "B=2"], "C"), "A=1 B=2 C=new");
        assert_eq!(set(&["A", "B=2"], "A"), "A=new B=2");
    }
}
