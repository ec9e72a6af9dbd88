//! An `apps.json` with any content.
#![no_main]

use std::path::PathBuf;

use carafe_builder::spec::{AppsInput, Spec, SpecOverrides};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if std::fs::write(file.path(), bytes).is_err() {
        return;
    }
    let overrides = SpecOverrides {
        spec: None,
        apps: Some(AppsInput::File(PathBuf::from(file.path()))),
        frappe_path: None,
        frappe_branch: Some("version-15".to_owned()),
        build_image: None,
        base_image: None,
        tags: Vec::new(),
    };
    let env = |name: &str| (name == "TOKEN").then(|| "secret".to_owned());
    match Spec::load(&overrides, &env) {
        Ok(spec) => assert_eq!(spec.apps[0].label(), "https://github.com/frappe/frappe"),
        Err(error) => drop(error.to_string()),
    }
});
