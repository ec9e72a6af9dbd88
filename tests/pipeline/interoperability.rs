//! Other tools accept Carafe's images.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::demo::{Demo, succeed};
use crate::reproducible::is_root;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, digest: &Value) -> std::path::PathBuf {
    layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

/// A copy of the pushed image, made by skopeo.
fn pulled(demo: &Demo) -> std::path::PathBuf {
    let layout = demo.path("pulled");
    let from = format!("docker://{}", demo.registry.image("demo/greetings:1"));
    let to = format!("oci:{}:1", layout.display());
    succeed(Command::new("skopeo").args(["copy", "--quiet", "--src-tls-verify=false", &from, &to]));
    layout
}

#[test]
fn other_tools_and_frappe_docker_accept_the_image() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    let stdout = demo.run(&["build", "--push", "--output", "docker-archive:image.tar"]);
    let names: Vec<&str> = stdout.lines().collect();
    let [archive, pushed_name] = names[..] else { panic!("{stdout}") };
    let (pushed, digest) = pushed_name.split_once('@').unwrap();
    assert_eq!(pushed, demo.registry.image("demo/greetings:1"));
    assert_eq!(archive, format!("docker-archive:image.tar@{digest}"));

    let layout = pulled(&demo);
    let index = json(&layout.join("index.json"));
    assert_eq!(index["manifests"][0]["digest"], digest, "skopeo copies the manifest unchanged");
    let manifest = json(&blob(&layout, &index["manifests"][0]["digest"]));
    let config = json(&blob(&layout, &manifest["config"]["digest"]));
    assert_eq!(config["config"]["User"], "frappe");
    assert_eq!(config["config"]["WorkingDir"], "/home/frappe/frappe-bench");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/local/bin/entrypoint.sh"]));
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["start.sh"]));
    let volumes: Vec<_> = config["config"]["Volumes"].as_object().unwrap().keys().collect();
    assert_eq!(volumes, ["/home/frappe/frappe-bench/logs", "/home/frappe/frappe-bench/sites"]);

    let schema = |kind: &str, path: &Path| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/check-schema");
        succeed(Command::new(script).arg(kind).arg(path));
    };
    schema("manifest", &blob(&layout, &index["manifests"][0]["digest"]));
    schema("config", &blob(&layout, &manifest["config"]["digest"]));
    let again = demo.run(&["copy", "docker-archive:image.tar:1", "oci:again:1"]);
    assert_eq!(again.trim_end(), format!("oci:again:1@{digest}"), "the archive has the same image");
    schema("index", &demo.path("again/index.json"));

    gnu_tar_reads_every_layer(&layout, &manifest);
    the_tree_has_the_layout_that_compose_expects(&demo, &layout);
    let lock = demo.run(&["inspect", "--lock", pushed_name, "--insecure-registry", demo.registry.address()]);
    assert_eq!(lock, fs::read_to_string(demo.path("carafe.lock")).unwrap());
}

fn gnu_tar_reads_every_layer(layout: &Path, manifest: &Value) {
    for layer in manifest["layers"].as_array().unwrap() {
        let listed = Command::new("tar").arg("-tzf").arg(blob(layout, &layer["digest"])).output().unwrap();
        assert!(
            listed.status.success() && listed.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
    }
}

/// Checks the type, mode, owner, mtime, content and link target of every entry, and that the check
/// finds a planted difference.
fn unpacked_files_equal_the_layers(layout: &Path, rootfs: &Path) {
    let check = || {
        let owners = if is_root() { &[][..] } else { &["--no-owners"] };
        let mut check = Command::new(crate::demo::root().join("tests/support/check-tree"));
        let output = check.arg(layout).arg(rootfs).args(owners).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (equal, output) = check();
    assert!(equal, "{output}");
    let bench = rootfs.join("home/frappe/frappe-bench");
    let hooks = bench.join("apps/frappe/frappe/hooks.py");
    let mtime = fs::metadata(&hooks).unwrap().modified().unwrap();
    let compiled = fs::read_dir(bench.join("apps/frappe/frappe/__pycache__")).unwrap();
    let compiled = compiled
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("hooks.cpython-"));
    let compiled = compiled.expect("Python is compiled");
    assert_eq!(fs::read(&compiled).unwrap()[4..8], [1, 0, 0, 0], "an unchecked hash");
    assert_eq!(fs::metadata(&compiled).unwrap().modified().unwrap(), mtime, "the mtime of its source");

    let times = fs::FileTimes::new().set_modified(mtime + std::time::Duration::from_secs(1));
    fs::File::options().write(true).open(&hooks).unwrap().set_times(times).unwrap();
    fs::write(bench.join("apps/more"), "").unwrap();
    let (equal, output) = check();
    let expected = ["frappe/hooks.py` is", "apps/more` is not"];
    assert!(!equal && expected.iter().all(|part| output.contains(part)), "{output}");
    fs::remove_file(bench.join("apps/more")).unwrap();
}

fn the_tree_has_the_layout_that_compose_expects(demo: &Demo, layout: &Path) {
    let bundle = demo.path("bundle");
    let image = format!("{}:1", layout.display());
    let rootless = if is_root() { &[][..] } else { &["--rootless"] };
    succeed(Command::new("umoci").arg("unpack").args(rootless).args(["--image", &image]).arg(&bundle));
    unpacked_files_equal_the_layers(layout, &bundle.join("rootfs"));
    let bench = bundle.join("rootfs/home/frappe/frappe-bench");
    let read = |path: &str| fs::read_to_string(bench.join(path)).unwrap();
    let list = |path: &str| {
        let names = fs::read_dir(bench.join(path)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(list("apps"), ["frappe", "greetings"]);
    assert_eq!(list("logs"), [""; 0]);
    assert_eq!(list("sites"), ["apps.json", "apps.txt", "common_site_config.json"]);
    assert_eq!(read("sites/apps.txt"), "frappe\ngreetings");
    assert_eq!(read("sites/common_site_config.json").trim(), "{}");
    let lock: toml::Table = toml::from_str(&fs::read_to_string(demo.path("carafe.lock")).unwrap()).unwrap();
    let apps_json: Value = serde_json::from_str(&read("sites/apps.json")).unwrap();
    for app in lock["app"].as_array().unwrap() {
        let name = app["name"].as_str().unwrap();
        assert_eq!(apps_json[name]["resolution"]["commit_hash"], app["commit"].as_str().unwrap(), "{name}");
    }
    assert!(bench.join("assets/assets.json").is_file());
    assert!(!bench.join("apps/frappe/.git").exists());
}
