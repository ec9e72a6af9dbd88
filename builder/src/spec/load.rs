//! From files, flags and environment to one [`Spec`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::app_url::Environment;
use super::file::{AppTable, File, RegistryTable};
use super::network::Network;
use super::quantity::{ByteSize, parse_duration};
use super::{
    AppSource, AppSpec, DEFAULT_FILE, DEFAULT_TIMEOUT, ImageSpec, MAX_SPEC_BYTES, Origin, RegistrySpec, Spec,
    SpecError, apps_json,
};
use crate::secret::Secret;

/// frappe_docker's own default.
const DEFAULT_FRAPPE_URL: &str = "https://github.com/frappe/frappe";

/// What the flags and the environment ask for; each overrides the file.
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
    /// At this path.
    File(PathBuf),
    /// In base64, as frappe_docker's build argument. It may hold tokens.
    Base64(Secret),
}

impl Spec {
    /// The `[registry]` tables alone, of `spec` or of a `carafe.toml` that is there.
    pub fn registries(spec: Option<&Path>) -> Result<BTreeMap<String, RegistrySpec>, SpecError> {
        let (file, directory, whole) = read_file(spec)?;
        registries(&file, &whole, &directory)
    }

    /// Reads everything that `wishes` name; `env` reads the environment (for `${TOKEN}`).
    pub fn load(wishes: &SpecOverrides, env: Environment) -> Result<Self, SpecError> {
        let (file, directory, whole) = read_file(wishes.spec.as_deref())?;
        let of_spec = Network::read(&file.mirrors, &file.network, &whole, env)?;
        // Who builds knows their network better than who wrote the spec.
        let network = of_spec.with(Network::of_user(env)?);
        let frappe = frappe(&file, wishes, &whole, env)?;
        let mut apps = vec![frappe];
        apps.extend(other_apps(&file, wishes, &whole, &directory, env)?);
        check_apps(&apps)?;
        let apps = network.locate_all(apps)?;

        let default_tag = default_image_tag(&apps[0]);
        let image = |flag: &str, wish: &Option<String>, key: &Option<toml::Spanned<String>>, kind: &str| {
            image(flag, wish.as_deref(), key.as_ref(), &whole, kind, default_tag.as_deref())
        };
        let build_image = image("--build-image", &wishes.build_image, &file.image.build_image, "build")?;
        let base_image = image("--base-image", &wishes.base_image, &file.image.base_image, "base")?;
        let (timeout, memory) = limits(&file, &whole)?;
        let env = environment(&file, &whole)?;
        let registries = registries(&file, &whole, &directory)?;
        let tags = if wishes.tags.is_empty() { file.image.tags } else { wishes.tags.clone() };
        Ok(Self { apps, build_image, base_image, tags, timeout, memory, env, registries, network, directory })
    }
}

/// Their paths are relative to the spec's directory.
fn registries(
    file: &File,
    whole: &Origin,
    directory: &Path,
) -> Result<BTreeMap<String, RegistrySpec>, SpecError> {
    let beside = |path: &PathBuf| directory.join(path);
    let registry = |(host, table): (&toml::Spanned<String>, &RegistryTable)| {
        let client = match (&table.client_cert, &table.client_key) {
            (Some(certificate), Some(key)) => Some((beside(certificate), beside(key))),
            (None, None) => None,
            _ => {
                let help = "`client-cert` names a PEM file, `client-key` the one of its key";
                return Err(whole.at(host.span()).error("a client certificate needs its key", help));
            }
        };
        let ca = table.ca.as_ref().map(beside);
        Ok((host.get_ref().clone(), RegistrySpec { insecure: table.insecure, ca, client }))
    };
    file.registry.iter().map(registry).collect()
}

/// The spec's file, its directory, and its text. Without `--spec` the file may be missing.
fn read_file(spec: Option<&Path>) -> Result<(File, PathBuf, Origin), SpecError> {
    let default = Path::new(DEFAULT_FILE);
    let path = match spec {
        Some(path) => path,
        None if default.exists() => default,
        None => return Ok((File::default(), PathBuf::new(), Origin::whole("command line", ""))),
    };
    let text = read_text(path)?;
    let whole = Origin::whole(&path.display().to_string(), &text);
    let file = File::parse(&text, &whole)?;
    Ok((file, path.parent().unwrap_or(Path::new("")).to_owned(), whole))
}

pub(super) fn read_text(path: &Path) -> Result<String, SpecError> {
    let origin = Origin::whole(&path.display().to_string(), "");
    let fail = |error: std::io::Error| {
        origin.error(format!("failed to read the file: {error}"), "check the path, and that you may read it")
    };
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_SPEC_BYTES {
        return Err(origin.error(format!("it has {size} bytes, over the limit of {MAX_SPEC_BYTES}"), ""));
    }
    std::fs::read_to_string(path).map_err(fail)
}

fn frappe(
    file: &File,
    wishes: &SpecOverrides,
    whole: &Origin,
    env: Environment,
) -> Result<AppSpec, SpecError> {
    let (mut table, mut origin) = match &file.frappe {
        Some(table) => (table.get_ref().clone(), whole.at(table.span())),
        None => (AppTable::default(), Origin::whole("frappe", "")),
    };
    if let Some(url) = &wishes.frappe_path {
        (table.url, table.path) = (Some(url.clone()), None);
        origin = Origin::whole("--frappe-path", url);
    }
    if let Some(branch) = &wishes.frappe_branch {
        (table.branch, table.commit) = (Some(branch.clone()), None);
        origin = match &wishes.frappe_path {
            Some(url) => Origin::whole("frappe", &format!("--frappe-path {url} --frappe-branch {branch}")),
            None => Origin::whole("--frappe-branch", branch),
        };
    }
    if table.path.is_none() && table.url.is_none() {
        table.url = Some(DEFAULT_FRAPPE_URL.to_owned());
    }
    if table.path.is_none() && table.branch.is_none() && table.commit.is_none() {
        let help = "name it: `--frappe-branch version-15` (or FRAPPE_BRANCH), or `[frappe] branch = …` in carafe.toml";
        return Err(origin.error("which frappe is not said", help));
    }
    table.into_app(origin, env)
}

fn other_apps(
    file: &File,
    wishes: &SpecOverrides,
    whole: &Origin,
    directory: &Path,
    env: Environment,
) -> Result<Vec<AppSpec>, SpecError> {
    match (&wishes.apps, &file.apps) {
        (Some(AppsInput::File(path)), _) => {
            apps_json::parse(&path.display().to_string(), &read_text(path)?, env)
        }
        (Some(AppsInput::Base64(text)), _) => {
            let name = "APPS_JSON_BASE64";
            let help = "make it with `base64 -w0 apps.json`";
            let fail = |message| Origin::whole(name, "").error(message, help);
            let bytes = decode_base64(text.expose()).ok_or_else(|| fail("it is not base64"))?;
            let text = String::from_utf8(bytes).map_err(|_| fail("what it holds is not text"))?;
            apps_json::parse(name, &text, env)
        }
        (None, Some(path)) if file.app.is_empty() => {
            let path = directory.join(path.get_ref());
            apps_json::parse(&path.display().to_string(), &read_text(&path)?, env)
        }
        (None, Some(path)) => {
            let help = "keep one of them: `apps` names an apps.json, `[[app]]` lists the apps here";
            Err(whole.at(path.span()).error("`apps` and `[[app]]` stand together", help))
        }
        (None, None) => {
            let apps = file.app.iter();
            apps.map(|app| app.get_ref().clone().into_app(whole.at(app.span()), env)).collect()
        }
    }
}

/// Padding optional, white space ignored, as `base64 --decode --ignore-garbage` takes it.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.split_ascii_whitespace().collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(text).ok()
}

/// One entry for each repository, and frappe only in its own place.
pub(super) fn check_apps(apps: &[AppSpec]) -> Result<(), SpecError> {
    let mut seen = BTreeSet::from([apps[0].identity()]);
    for app in &apps[1..] {
        let identity = app.identity();
        let is_git = matches!(app.source, AppSource::Git { .. });
        if is_git && identity.rsplit('/').next() == Some("frappe") {
            let help = "take it out: frappe is installed first, from `[frappe]` or --frappe-path and --frappe-branch";
            return Err(app.origin.error("frappe stands among the apps", help));
        }
        if !seen.insert(identity) {
            return Err(app
                .origin
                .error(format!("`{}` stands here twice", app.label()), "remove one of the two"));
        }
    }
    Ok(())
}

fn image(
    flag: &str,
    wish: Option<&str>,
    key: Option<&toml::Spanned<String>>,
    whole: &Origin,
    kind: &str,
    default_tag: Option<&str>,
) -> Result<ImageSpec, SpecError> {
    if let Some(reference) = wish {
        return Ok(ImageSpec { reference: reference.to_owned(), origin: Origin::whole(flag, reference) });
    }
    if let Some(key) = key {
        return Ok(ImageSpec { reference: key.get_ref().clone(), origin: whole.at(key.span()) });
    }
    let Some(tag) = default_tag else {
        let help = format!("name it: `{flag} IMAGE`, or `[image] {kind}-image = …` in carafe.toml");
        return Err(whole.at(0..0).error(format!("the {kind} image is not said"), help));
    };
    let reference = format!("docker.io/frappe/{kind}:{tag}");
    let origin = Origin::whole(&format!("default of {flag}"), &reference);
    Ok(ImageSpec { reference, origin })
}

/// frappe_docker tags its images with frappe's branches and tags.
fn default_image_tag(frappe: &AppSpec) -> Option<String> {
    match &frappe.source {
        AppSource::Git { name, .. } => name.clone().filter(|name| !name.contains('/')),
        AppSource::Local { .. } => None,
    }
}

fn environment(file: &File, whole: &Origin) -> Result<BTreeMap<String, String>, SpecError> {
    let checked = file.build.env.iter().map(|(name, value)| {
        check_variable(name.get_ref(), value, &whole.at(name.span()))?;
        Ok((name.get_ref().clone(), value.clone()))
    });
    checked.collect()
}

/// A variable for bench: a name as shells have them, a value without control characters.
pub(super) fn check_variable(name: &str, value: &str, origin: &Origin) -> Result<(), SpecError> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    match is_name && !value.contains(char::is_control) {
        true => Ok(()),
        false => Err(origin.error("no environment variable", "write it as NAME = \"value\"")),
    }
}

fn limits(file: &File, whole: &Origin) -> Result<(std::time::Duration, Option<ByteSize>), SpecError> {
    let timeout = match &file.build.timeout {
        None => DEFAULT_TIMEOUT,
        Some(text) => parse_duration(text.get_ref()).ok_or_else(|| {
            whole.at(text.span()).error("no duration", "write it as \"90s\", \"15m\" or \"2h\"")
        })?,
    };
    let memory =
        match &file.build.memory {
            None => None,
            Some(text) => Some(ByteSize::parse(text.get_ref()).ok_or_else(|| {
                whole.at(text.span()).error("no size", "write it as \"512MiB\" or \"4GiB\"")
            })?),
        };
    Ok((timeout, memory))
}

#[cfg(test)]
mod tests;
