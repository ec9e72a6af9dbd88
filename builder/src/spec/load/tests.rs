use super::*;

const BASES: &str = "[image]\nbuild-image = \"oci:b\"\nbase-image = \"oci:r\"\n";

fn load(toml: &str) -> Result<Spec, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("carafe.toml");
    std::fs::write(&path, toml).unwrap();
    let overrides = SpecOverrides { spec: Some(path), ..SpecOverrides::default() };
    Spec::load(&overrides, &|_| None).map_err(|error| {
        let directory = format!("{}/", directory.path().display());
        error.to_string().replace(&directory, "")
    })
}

fn frappe(rest: &str) -> String {
    format!("{BASES}[frappe]\nbranch = \"v15\"\n{rest}")
}

#[test]
fn loads_a_complete_spec() {
    let spec = load(&frappe(
        "[[app]]\nurl = \"frappe/payments@main\"\n[[app]]\npath = \"apps/x\"\n\
         [build]\ntimeout = \"5m\"\nmemory = \"1GiB\"\n[registry.\"localhost:5000\"]\ninsecure = true\n\
         [registry.r]\nca = \"ca.pem\"\nclient-cert = \"/c.pem\"\nclient-key = \"/k.pem\"\n",
    ))
    .unwrap();
    let labels: Vec<_> = spec.apps.iter().map(AppSpec::label).collect();
    assert_eq!(labels, [DEFAULT_FRAPPE_URL, "https://github.com/frappe/payments", "apps/x"]);
    assert_eq!(spec.timeout.as_secs(), 300);
    assert_eq!(spec.memory, Some(ByteSize(1 << 30)));
    assert!(spec.registries["localhost:5000"].insecure && !spec.registries["r"].insecure);
    assert_eq!(spec.registries["r"].ca, Some(spec.directory.join("ca.pem")));
    assert_eq!(spec.registries["r"].client, Some(("/c.pem".into(), "/k.pem".into())));
}

#[test]
fn reports_the_position_of_an_error() {
    let twice = "[[app]]\nurl = \"https://h/o/a\"\nbranch = \"x\"\n[[app]]\nurl = \"https://h/o/a.git\"\nbranch = \"y\"\n";
    for (text, message) in [
        (frappe("[[app]]\nurl = 1\n"), "carafe.toml:7:7: invalid type"),
        (frappe("[biuld]\n"), "carafe.toml:6:2: unknown field `biuld`"),
        (frappe("x ="), "carafe.toml:6:"),
        (frappe(twice), "carafe.toml:9:1: `https://h/o/a.git` is listed twice"),
        (
            frappe("[[app]]\nurl = \"frappe/frappe\"\nbranch = \"x\"\n"),
            "carafe.toml:6:1: frappe must not be listed",
        ),
        (frappe("[[app]]\nurl = \"frappe/x\"\n"), "carafe.toml:6:1: an app must have `branch`"),
        (frappe("[[app]]\npath = \"x\"\nbranch = \"y\"\n"), "carafe.toml:6:1: `path` cannot be combined"),
        (frappe("[[app]]\nurl = \"frappe/x\"\nbranch = \"-x\"\n"), "carafe.toml:8:1: failed to parse `-x`"),
        (frappe("[build]\ntimeout = \"soon\"\n"), "carafe.toml:7:11: `soon` is not a duration"),
        (
            frappe("[build.env]\n\"A=B\" = \"x\"\n"),
            "carafe.toml:7:1: `A=B` is not a name of an environment variable",
        ),
        (
            frappe("[registry.r]\nclient-key = \"k\"\n"),
            "carafe.toml:6:11: `client-cert` and `client-key` must",
        ),
        (BASES.to_owned(), "frappe: the branch of frappe is not set"),
        (
            frappe(&format!("[[app]]\nurl = \"frappe/x\"\nbranch = \"{}\"\n", "a".repeat(40))),
            "carafe.toml:8:1: `branch` must be a branch or a tag",
        ),
    ] {
        let error = load(&text).map(|_| ()).unwrap_err();
        assert!(error.starts_with(message), "{text}\n{error}");
    }
}

#[test]
fn accepts_the_inputs_of_frappe_docker() {
    let json = "W3sidXJsIjogImh0dHBzOi8vdTp0MGtlbkBoL28vYSIsICJicmFuY2giOiAibWFpbiJ9XQ==";
    let overrides = SpecOverrides {
        apps: Some(AppsInput::Base64(Secret::new(json))),
        frappe_branch: Some("version-15".into()),
        tags: vec!["r/x:1".into()],
        ..SpecOverrides::default()
    };
    let spec = Spec::load(&overrides, &|_| None).unwrap();
    assert_eq!(spec.build_image.reference, "docker.io/frappe/build:version-15");
    assert_eq!(spec.base_image.reference, "docker.io/frappe/base:version-15");
    assert_eq!(spec.apps[1].label(), "https://h/o/a");
    assert_eq!(spec.redactor().redact("t0ken"), "***");
}

#[test]
fn omits_tokens_from_messages_and_the_checksum() {
    let with = |url: &str| frappe(&format!("[[app]]\nurl = \"{url}\"\nbranch = \"main\"\n"));
    let spec = load(&with("https://u:t0ken@h/o/a")).unwrap();
    assert_eq!(spec.checksum(), load(&with("https://h/o/a")).unwrap().checksum());
    assert!(!format!("{spec:?}").contains("t0ken"));
}

#[test]
fn the_checksum_covers_what_is_locked() {
    let spec = load(&frappe("")).unwrap();
    let tagged = load(&frappe("[build]\ntimeout = \"5m\"\n")).unwrap();
    assert_eq!(spec.checksum(), tagged.checksum());
    let other = load(&frappe("").replace("v15", "v16")).unwrap();
    assert_ne!(spec.checksum(), other.checksum());
    let env = load(&frappe("[build.env]\nUV_EXCLUDE_NEWER = \"2026-01-31\"\n")).unwrap();
    assert_ne!(spec.checksum(), env.checksum());
}

#[test]
fn decodes_base64_with_white_space_and_without_padding() {
    assert_eq!(decode_base64("Y2Fy\nYWZl").as_deref(), Some(&b"carafe"[..]));
    assert_eq!(decode_base64("YQ==").as_deref(), Some(&b"a"[..]));
    assert_eq!(decode_base64("%%"), None);
}

#[test]
fn rejects_an_empty_apps_json_variable() {
    let overrides = |text: &str| SpecOverrides {
        apps: Some(AppsInput::Base64(Secret::new(text))),
        frappe_branch: Some("version-15".into()),
        ..SpecOverrides::default()
    };
    for (text, message) in [
        ("", "APPS_JSON_BASE64: the variable is set, but empty"),
        (" \n", "APPS_JSON_BASE64: the variable is set, but empty"),
        ("W10=", "APPS_JSON_BASE64: the list of apps is empty"),
        ("//5bAF0A", "APPS_JSON_BASE64: the text is UTF-16"),
    ] {
        let error = Spec::load(&overrides(text), &|_| None).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn ignores_a_byte_order_mark() {
    let spec = load(&format!("\u{feff}{}", frappe("[[app]]\npath = \"x\"\n"))).unwrap();
    assert_eq!(spec.apps[1].label(), "x");
}
