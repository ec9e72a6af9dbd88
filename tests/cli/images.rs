//! A base image that does not exist, and a registry that rejects a push.

use insta::assert_snapshot;

use crate::demo::{Demo, bases};
use crate::messages::{error_output, normalized};
use crate::registry::{RegistryServer, Setup};
use crate::repositories::closed_port;

const USER: &str = "builder";
const PASSWORD: &str = "right-71c3a9";
const WRONG: &str = "wrong-4be2d8";

/// The error of `carafe lock` with this base image.
fn with_base(demo: &Demo, image: &str) -> String {
    let spec = demo.spec("");
    let old = format!("oci:{}/base-image", bases().display());
    demo.write("carafe.toml", &spec.replace(&old, image));
    error_output(demo, 1, &["lock", "--quiet"])
}

/// The error of `carafe push` of the base image.
fn push(demo: &Demo, target: &str, options: &[&str]) -> String {
    let image = format!("oci:{}/base-image", bases().display());
    let arguments = [&["push", "--quiet", &image, target][..], options].concat();
    error_output(demo, 1, &arguments)
}

#[test]
fn a_base_image_that_does_not_exist() {
    let demo = Demo::new();
    assert_snapshot!(with_base(&demo, "oci:no/such/directory"), @r#"
     × carafe.toml:4:14: failed to read `no/such/directory/index.json`
     ╰─▶ No such file or directory (os error 2)
      ╭─[4:14]
    3 │ build-image = "oci:[BASES]/build-image"
    4 │ base-image = "oci:no/such/directory"
      ·              ───────────┬───────────
      ·                         ╰── here
    5 │ [frappe]
      ╰────
     help: check the path and its permissions: `oci:` requires a directory with an index.json, `docker-archive:` and `oci-archive:` a file
    "#);
    assert_snapshot!(with_base(&demo, "docker-archive:no/such/file.tar"), @r#"
     × carafe.toml:4:14: failed to read `no/such/file.tar`
     ╰─▶ No such file or directory (os error 2)
      ╭─[4:14]
    3 │ build-image = "oci:[BASES]/build-image"
    4 │ base-image = "docker-archive:no/such/file.tar"
      ·              ────────────────┬────────────────
      ·                              ╰── here
    5 │ [frappe]
      ╰────
     help: check the path and its permissions: `oci:` requires a directory with an index.json, `docker-archive:` and `oci-archive:` a file
    "#);
    assert_snapshot!(with_base(&demo, &demo.registry.image("frappe/base:version-99")), @r#"
     × carafe.toml:4:14: failed to read the manifest `version-99` of [REGISTRY]/frappe/base: not found in `[REGISTRY]` (MANIFEST_UNKNOWN: manifest unknown)
      ╭─[4:14]
    3 │ build-image = "oci:[BASES]/build-image"
    4 │ base-image = "[REGISTRY]/frappe/base:version-99"
      ·              ────────────────────┬───────────────────
      ·                                  ╰── here
    5 │ [frappe]
      ╰────
     help: check the spelling; some registries respond with 404 if the account may not read the repository
    "#);
}

#[test]
fn a_base_image_with_an_invalid_name() {
    assert_snapshot!(with_base(&Demo::new(), "Frappe/Base:version 15"), @r#"
     × carafe.toml:4:14: failed to parse image reference `Frappe/Base:version 15`: it contains white space or a control character
      ╭─[4:14]
    3 │ build-image = "oci:[BASES]/build-image"
    4 │ base-image = "Frappe/Base:version 15"
      ·              ────────────┬───────────
      ·                          ╰── here
    5 │ [frappe]
      ╰────
     help: write it as `registry/repository:tag`, such as `registry.example.com/erp:15`
    "#);
}

#[test]
fn a_registry_that_refuses_the_connection() {
    let demo = Demo::new();
    let address = format!("127.0.0.1:{}", closed_port());
    let stderr = push(&demo, &format!("{address}/a/b:1"), &["--insecure-registry", &address]);
    // An attempt before a retry is a warning; its delay is random.
    let (warnings, error): (Vec<&str>, Vec<&str>) =
        stderr.lines().partition(|line| line.starts_with("warning: "));
    assert!(!warnings.is_empty());
    assert_snapshot!(error.join("\n").replace(&address, "[CLOSED]"), @"
    × failed to push sha256:[ID] to [CLOSED]/a/b: no connection to `[CLOSED]`
    ├─▶ error sending request
    ├─▶ client error (Connect)
    ├─▶ tcp connect error
    ╰─▶ Connection refused (os error 111)
    help: check the name and the port, that the registry runs, and the proxy variables HTTPS_PROXY and NO_PROXY
    ");
}

#[test]
fn a_registry_that_uses_plain_http() {
    let demo = Demo::new();
    assert_snapshot!(push(&demo, &demo.registry.image("a/b:1"), &[]), @r#"
    × failed to push sha256:[ID] to [REGISTRY]/a/b: `[REGISTRY]` uses plain http, not https
    help: if this is intended, mark it as insecure: `insecure = true` under `[registry."[REGISTRY]"]`, or `--insecure-registry [REGISTRY]`
    "#);
}

#[test]
fn a_registry_that_requires_credentials() {
    let demo = Demo::new();
    let registry = RegistryServer::with(Setup { login: Some((USER, PASSWORD)), ..Setup::default() });
    let insecure = ["--insecure-registry", registry.address()];
    let anonymous = push(&demo, &registry.image("a/b:1"), &insecure);
    assert_snapshot!(anonymous.replace(registry.address(), "[CLOSED]"), @"
    × failed to push sha256:[ID] to [CLOSED]/a/b: `[CLOSED]` requires other credentials (no credentials were found): unauthorized
    help: log in with `docker login [CLOSED]` (or podman, skopeo), or set CARAFE_USERNAME and CARAFE_PASSWORD; the account needs `repository:a/b:pull,push`
    ");

    let image = format!("oci:{}/base-image", bases().display());
    let target = registry.image("a/b:1");
    let mut command = demo.carafe(&[&["push", "--quiet", &image, &target][..], &insecure].concat());
    command.env("CARAFE_USERNAME", USER).env("CARAFE_PASSWORD", WRONG);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains(WRONG), "{stderr}");
    assert_snapshot!(normalized(&demo, &stderr).replace(registry.address(), "[CLOSED]"), @"
    × failed to push sha256:[ID] to [CLOSED]/a/b: `[CLOSED]` requires other credentials (user `builder` from CARAFE_USERNAME): unauthorized
    help: log in with `docker login [CLOSED]` (or podman, skopeo), or set CARAFE_USERNAME and CARAFE_PASSWORD; the account needs `repository:a/b:pull,push`
    ");
}
