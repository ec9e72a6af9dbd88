//! A small bench with everything that is difficult in an archive, and the steps to an image of it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use carafe_layers::digest::{DiffId, Digest};
use carafe_layers::format::{FIXED_MTIME, FormatVersion};
use carafe_layers::image::{Image, ImageChanges, derive};
use carafe_layers::json::canonical_json;
use carafe_layers::layout::{LayoutSource, LayoutWriter};
use carafe_layers::mtime::MtimePolicy;
use carafe_layers::oci::{
    Extra, ImageConfig, Manifest, Platform, RootFs, RuntimeConfig, StringMap, media_type,
};
use carafe_layers::pack::{PackError, PackOptions, PackedLayer, pack};
use carafe_layers::path::ImagePath;
use carafe_layers::pattern::{Pattern, Rule};
use carafe_layers::plan::{Group, LayerName, plan};
use carafe_layers::source::{ResolvedImage, resolve};
use carafe_layers::tree::{Owner, SourceMapping};
use carafe_layers::walk::walk;

pub const COMMIT_TIME: i64 = 1_700_000_000;

/// How the tree is written. It must not affect the image.
#[derive(Clone, Copy)]
pub struct Manner {
    pub reversed: bool,
    pub plain_mode: u32,
    pub executable_mode: u32,
    pub directory_mode: u32,
}

pub const USUAL: Manner =
    Manner { reversed: false, plain_mode: 0o644, executable_mode: 0o755, directory_mode: 0o755 };

enum What {
    Directory,
    Plain(Vec<u8>),
    Executable(&'static [u8]),
    Link(String),
    HardLink(&'static str),
}

fn tree() -> Vec<(PathBuf, What)> {
    let plain = |text: &str| What::Plain(text.as_bytes().to_vec());
    let long = format!("apps/shop/{}", vec!["deep".repeat(12); 8].join("/"));
    vec![
        ("env/bin/python".into(), What::Link("/usr/bin/python3".into())),
        ("env/lib/big.bin".into(), What::Plain(noise(3_500_000))),
        ("apps/frappe/hooks.py".into(), plain("app_name = 'frappe'\n")),
        ("apps/frappe/node_modules/left-pad/index.js".into(), plain("module.exports = 1\n")),
        (
            "apps/frappe/node_modules/left-pad/copy.js".into(),
            What::HardLink("apps/frappe/node_modules/left-pad/index.js"),
        ),
        ("apps/shop/run".into(), What::Executable(b"#!/bin/sh\n")),
        ("apps/shop/grüße-日本.txt".into(), plain("hallo\n")),
        (Path::new("apps/shop").join(OsStr::from_bytes(b"caf\xe9.txt")), plain("latin-1 name\n")),
        ("apps/shop/empty".into(), plain("")),
        ("apps/shop/block".into(), What::Plain(vec![b'x'; 512])),
        ("apps/shop-b/a".into(), plain("sorts between shop and shop/\n")),
        (long.clone().into(), plain("a path of 400 bytes\n")),
        (format!("apps/shop/{}.txt", "n".repeat(120)).into(), plain("a name of 124 bytes\n")),
        ("apps/shop/split".repeat(8).replace("splitapps", "split/apps").into(), plain("in two fields\n")),
        ("apps/shop/long-link".into(), What::Link(format!("../../{long}"))),
        ("apps/shop/link-ü".into(), What::Link("grüße-日本.txt".into())),
        ("logs".into(), What::Directory),
        ("sites/apps.txt".into(), plain("frappe\nshop\n")),
    ]
}

/// The same bytes on each call; they compress moderately.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 59) as u8
    };
    (0..length).map(|_| b'a' + next()).collect()
}

/// Writes the tree below `root`, which exists.
pub fn write_tree(root: &Path, manner: Manner) {
    let mut items = tree();
    if manner.reversed {
        items.reverse();
    }
    let (hard_links, items): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|(_, what)| matches!(what, What::HardLink(_)));
    for (path, what) in items.into_iter().chain(hard_links) {
        let path = root.join(path);
        make_directories(root, path.parent().unwrap(), manner);
        match what {
            What::Directory => make_directories(root, &path, manner),
            What::Link(target) => symlink(target, &path).unwrap(),
            What::HardLink(other) => fs::hard_link(root.join(other), &path).unwrap(),
            What::Plain(bytes) => write_file(&path, &bytes, manner.plain_mode),
            What::Executable(bytes) => write_file(&path, bytes, manner.executable_mode),
        }
    }
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn make_directories(root: &Path, path: &Path, manner: Manner) {
    fs::create_dir_all(path).unwrap();
    for directory in path.ancestors().take_while(|directory| *directory != root) {
        fs::set_permissions(directory, Permissions::from_mode(manner.directory_mode)).unwrap();
    }
}

pub fn image_path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

pub const BENCH: &str = "home/frappe/frappe-bench";

pub fn mapping(host: &Path) -> SourceMapping {
    let owner = Owner { uid: 1000, gid: 1000 };
    SourceMapping { host: host.to_owned(), image: image_path(BENCH), owner }
}

pub fn groups(host: &Path) -> Vec<Group> {
    let under = |path: &str| Pattern::under(image_path(&format!("{BENCH}/{path}")));
    let modules = under("apps").containing("node_modules");
    let mtimes = MtimePolicy {
        default: COMMIT_TIME + 60,
        rules: vec![
            Rule::new(under("apps"), COMMIT_TIME),
            Rule::new(under("env"), FIXED_MTIME),
            Rule::new(modules.clone(), FIXED_MTIME),
        ],
    };
    let layer = |pattern, name: &str| Rule::new(pattern, LayerName::from(name));
    let rules = [
        layer(under("env"), "env"),
        layer(modules, "node_modules"),
        layer(under("apps/frappe"), "frappe"),
        layer(under("apps"), "apps"),
    ];
    plan(&walk(&[mapping(host)], &mtimes).unwrap(), &rules, NonZeroUsize::new(20).unwrap())
}

pub fn options(threads: usize) -> PackOptions<'static> {
    PackOptions {
        format: FormatVersion::V1,
        threads: NonZeroUsize::new(threads).unwrap(),
        progress: &|_| {},
        secrets: &[],
    }
}

/// Packs every group, one after the other.
pub fn pack_all(
    groups: &[Group],
    layout: &LayoutWriter,
    threads: usize,
) -> Result<Vec<PackedLayer>, PackError> {
    groups.iter().map(|group| pack(group, layout, &options(threads))).collect()
}

/// A base image of one layer, in its own layout.
pub fn base(directory: &Path) -> ResolvedImage {
    let layout = LayoutWriter::create(directory).unwrap();
    let tar = vec![0; 1024];
    let layer = layout.put_bytes(media_type::LAYER_TAR, &tar).unwrap();
    let config = ImageConfig {
        created: None,
        architecture: "amd64".into(),
        os: "linux".into(),
        config: RuntimeConfig { env: vec!["PATH=/usr/bin:/bin".into()], ..RuntimeConfig::default() },
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![DiffId(Digest::of(&tar))] },
        history: Vec::new(),
        extra: Extra::new(),
    };
    let config = layout.put_bytes(media_type::CONFIG, &canonical_json(&config)).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.into()),
        config,
        layers: vec![layer],
        annotations: StringMap::new(),
        extra: Extra::new(),
    };
    let image = layout.put_bytes(media_type::MANIFEST, &canonical_json(&manifest)).unwrap();
    layout.finish(&image, &[]).unwrap();
    let platform = Platform { architecture: "amd64".into(), ..Platform::host() };
    resolve(&LayoutSource::open(directory, None).unwrap(), &platform).unwrap()
}

pub fn derive_image(base: &ResolvedImage, layers: &[PackedLayer]) -> Image {
    let changes = ImageChanges {
        user: Some("frappe".into()),
        entrypoint: Some(vec!["/usr/local/bin/entrypoint.sh".into()]),
        cmd: Some(vec!["start.sh".into()]),
        working_dir: Some(format!("/{BENCH}")),
        volumes: vec![format!("/{BENCH}/sites"), format!("/{BENCH}/logs")],
        env: vec![("FRAPPE_BENCH".into(), "1".into())],
        created: COMMIT_TIME + 60,
        base_name: Some("example.com/base:1".into()),
        ..ImageChanges::default()
    };
    derive(base, layers, &changes).unwrap()
}
