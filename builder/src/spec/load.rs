//! Files, flags and environment → one [`Spec`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::app::{AppSource, AppSpec, check_apps};
use super::apps_json;
use super::environment::{Environment, check_build_variable};
use super::error::{Origin, SpecError};
use super::file::{AppTable, File, RegistryTable};
use super::network::Network;
use super::quantity::{ByteSize, parse_duration};
use super::text::{decode, read_text};
use super::types::{DEFAULT_TIMEOUT, ImageSpec, RegistrySpec, Spec};
use crate::secret::Secret;

/// The spec's file if `--spec` is not set.
pub const DEFAULT_FILE: &str = "carafe.toml";

/// The default of frappe_docker.
const DEFAULT_FRAPPE_URL: &str = "https://github.com/frappe/frappe";

/// Settings from flags and environment variables. Each overrides the one in the file.
#[derive(Clone, Debug, Default)]
pub struct SpecOverrides {
    /// `--spec`.
    pub spec: Option<PathBuf>,
    /// `--apps` or `APPS_JSON_BASE64`.
    pub apps: Option<AppsInput>,
    /// `--frappe-path` or `FRAPPE_PATH`.
    pub frappe_path: Option<String>,
    /// `--frappe-branch` or `FRAPPE_BRANCH`.
    pub frappe_branch: Option<String>,
    /// `--build-image`.
    pub build_image: Option<String>,
    /// `--base-image`.
    pub base_image: Option<String>,
    /// `--tag`.
    pub tags: Vec<String>,
}

/// An apps.json.
#[derive(Clone, Debug)]
pub enum AppsInput {
    /// The file at this path.
    File(PathBuf),
    /// The content in base64, as in frappe_docker's build argument. It may contain tokens.
    Base64(Secret),
}

impl Spec {
    /// Reads only the `[registry]` tables of `spec`, or of `carafe.toml` if it exists.
    pub fn registries(spec: Option<&Path>) -> Result<BTreeMap<String, RegistrySpec>, SpecError> {
        let (file, directory, document) = read_file(spec)?;
        registries(&file, &document, &directory)
    }

    /// Reads the spec with `overrides`. `env` returns environment variables, for `${TOKEN}`.
    pub fn load(overrides: &SpecOverrides, env: Environment) -> Result<Self, SpecError> {
        let (file, directory, document) = read_file(overrides.spec.as_deref())?;
        // The user's settings take precedence: they describe the network of this machine.
        let network =
            Network::read(&file.mirrors, &file.network, &document, env)?.merge(Network::of_user(env)?);
        let frappe = frappe(&file, overrides, &document, env)?;
        let mut apps = vec![frappe];
        apps.extend(other_apps(&file, overrides, &document, &directory, env)?);
        check_apps(&apps)?;
        let apps = network.locate_all(apps)?;

        let default_tag = default_image_tag(&apps[0]);
        let image = |flag: &str, value: &Option<String>, key: &Option<toml::Spanned<String>>, kind: &str| {
            image(flag, value.as_deref(), key.as_ref(), &document, kind, default_tag.as_deref())
        };
        let build_image = image("--build-image", &overrides.build_image, &file.image.build_image, "build")?;
        let base_image = image("--base-image", &overrides.base_image, &file.image.base_image, "base")?;
        let (timeout, memory) = limits(&file, &document)?;
        let env = environment(&file, &document)?;
        let registries = registries(&file, &document, &directory)?;
        let tags = if overrides.tags.is_empty() { file.image.tags } else { overrides.tags.clone() };
        Ok(Self { apps, build_image, base_image, tags, timeout, memory, env, registries, network, directory })
    }
}

/// The `[registry]` tables. Paths in them are relative to `directory`.
fn registries(
    file: &File,
    document: &Origin,
    directory: &Path,
) -> Result<BTreeMap<String, RegistrySpec>, SpecError> {
    let absolute = |path: &PathBuf| directory.join(path);
    let registry = |(host, table): (&toml::Spanned<String>, &RegistryTable)| {
        let client = match (&table.client_cert, &table.client_key) {
            (Some(certificate), Some(key)) => Some((absolute(certificate), absolute(key))),
            (None, None) => None,
            _ => {
                let help = "`client-cert` is a PEM file, and `client-key` the PEM file of its key";
                let message = "`client-cert` and `client-key` must be set together";
                return Err(document.at(host.span()).error(message, help));
            }
        };
        let ca = table.ca.as_ref().map(absolute);
        Ok((host.get_ref().clone(), RegistrySpec { insecure: table.insecure, ca, client }))
    };
    file.registry.iter().map(registry).collect()
}

/// The spec's file, its directory, and its complete text. Without `--spec`, the file may be missing.
fn read_file(spec: Option<&Path>) -> Result<(File, PathBuf, Origin), SpecError> {
    let default = Path::new(DEFAULT_FILE);
    let path = match spec {
        Some(path) => path,
        None if default.exists() => default,
        None => return Ok((File::default(), PathBuf::new(), Origin::document("command line", ""))),
    };
    let text = read_text(path)?;
    let document = Origin::document(&path.display().to_string(), &text);
    let file = File::parse(&text, &document)?;
    Ok((file, path.parent().unwrap_or(Path::new("")).to_owned(), document))
}

fn frappe(
    file: &File,
    overrides: &SpecOverrides,
    document: &Origin,
    env: Environment,
) -> Result<AppSpec, SpecError> {
    let (mut table, mut origin) = match &file.frappe {
        Some(table) => (table.get_ref().clone(), document.at(table.span())),
        None => (AppTable::default(), Origin::document("frappe", "")),
    };
    if let Some(url) = &overrides.frappe_path {
        (table.url, table.path) = (Some(url.clone()), None);
        origin = Origin::document("--frappe-path", url);
    }
    if let Some(branch) = &overrides.frappe_branch {
        (table.branch, table.commit) = (Some(branch.clone()), None);
        origin = match &overrides.frappe_path {
            Some(url) => Origin::document("frappe", &format!("--frappe-path {url} --frappe-branch {branch}")),
            None => Origin::document("--frappe-branch", branch),
        };
    }
    if table.path.is_none() && table.url.is_none() {
        table.url = Some(DEFAULT_FRAPPE_URL.to_owned());
    }
    if table.path.is_none() && table.branch.is_none() && table.commit.is_none() {
        let help =
            "pass `--frappe-branch version-15`, or set FRAPPE_BRANCH, or `[frappe] branch` in carafe.toml";
        return Err(origin.error("the branch of frappe is not set", help));
    }
    table.into_app(origin, env)
}

fn other_apps(
    file: &File,
    overrides: &SpecOverrides,
    document: &Origin,
    directory: &Path,
    env: Environment,
) -> Result<Vec<AppSpec>, SpecError> {
    match (&overrides.apps, &file.apps) {
        (Some(AppsInput::File(path)), _) => {
            apps_json::parse(&path.display().to_string(), &read_text(path)?, env)
        }
        (Some(AppsInput::Base64(text)), _) => {
            let name = "APPS_JSON_BASE64";
            let origin = Origin::document(name, "");
            if text.expose().trim().is_empty() {
                let help = "set it to the output of `base64 -w0 apps.json`, or unset it";
                return Err(origin.error("the variable is set, but empty", help));
            }
            let bytes = decode_base64(text.expose()).ok_or_else(|| {
                origin.error("the value is not base64", "set it to the output of `base64 -w0 apps.json`")
            })?;
            apps_json::parse(name, &decode(bytes, &origin)?, env)
        }
        (None, Some(path)) if file.app.is_empty() => {
            let path = directory.join(path.get_ref());
            apps_json::parse(&path.display().to_string(), &read_text(&path)?, env)
        }
        (None, Some(path)) => {
            let help = "remove one of them: `apps` is the path of an apps.json, `[[app]]` lists an app here";
            Err(document.at(path.span()).error("`apps` and `[[app]]` cannot be combined", help))
        }
        (None, None) => {
            let apps = file.app.iter();
            apps.map(|app| app.get_ref().clone().into_app(document.at(app.span()), env)).collect()
        }
    }
}

/// Decodes base64, with or without padding. White space is ignored.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.split_ascii_whitespace().collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(text).ok()
}

fn image(
    flag: &str,
    value: Option<&str>,
    key: Option<&toml::Spanned<String>>,
    document: &Origin,
    kind: &str,
    default_tag: Option<&str>,
) -> Result<ImageSpec, SpecError> {
    if let Some(reference) = value {
        return Ok(ImageSpec { reference: reference.to_owned(), origin: Origin::document(flag, reference) });
    }
    if let Some(key) = key {
        return Ok(ImageSpec { reference: key.get_ref().clone(), origin: document.at(key.span()) });
    }
    let Some(tag) = default_tag else {
        let help = format!("pass `{flag} IMAGE`, or set `[image] {kind}-image` in carafe.toml");
        return Err(document.at(0..0).error(format!("the {kind} image is not set"), help));
    };
    let reference = format!("docker.io/frappe/{kind}:{tag}");
    let origin = Origin::document(&format!("default of {flag}"), &reference);
    Ok(ImageSpec { reference, origin })
}

/// The default tag of the images: frappe_docker tags them with frappe's branches and tags.
fn default_image_tag(frappe: &AppSpec) -> Option<String> {
    match &frappe.source {
        AppSource::Git { name, .. } => name.clone().filter(|name| !name.contains('/')),
        AppSource::Local { .. } => None,
    }
}

fn environment(file: &File, document: &Origin) -> Result<BTreeMap<String, String>, SpecError> {
    let checked = file.build.env.iter().map(|(name, value)| {
        check_build_variable(name.get_ref(), value, &document.at(name.span()))?;
        Ok((name.get_ref().clone(), value.clone()))
    });
    checked.collect()
}

fn limits(file: &File, document: &Origin) -> Result<(std::time::Duration, Option<ByteSize>), SpecError> {
    let timeout = match &file.build.timeout {
        None => DEFAULT_TIMEOUT,
        Some(text) => parse_duration(text.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is not a duration", text.get_ref().escape_debug());
            document.at(text.span()).error(message, "write it as \"90s\", \"15m\" or \"2h\"")
        })?,
    };
    let memory = match &file.build.memory {
        None => None,
        Some(text) => Some(ByteSize::parse(text.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is not a size", text.get_ref().escape_debug());
            document.at(text.span()).error(message, "write it as \"512MiB\" or \"4GiB\"")
        })?),
    };
    Ok((timeout, memory))
}

#[cfg(test)]
mod tests;
