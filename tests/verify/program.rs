//! The complete command, from an image's name to the result, with a real rebuild.

use std::process::Command;

use serde_json::json;

use crate::demo::{Demo, TOKEN, succeed};
use crate::json_output::result;
use crate::variants::{APP, Variant, find, opened, original};

/// Sets a home directory whose git has the token of the example's server: a lock has no credentials.
fn with_helper(demo: &Demo, command: &mut Command) {
    let helper =
        format!("[credential]\n\thelper = \"!f() {{ echo username=ci; echo password={TOKEN}; }}; f\"\n");
    demo.write("home/.gitconfig", &helper);
    command.env("HOME", demo.path("home"));
}

#[test]
fn needs_only_the_image_in_a_registry() {
    let demo = Demo::new();
    let (name, registry) = (demo.registry.image("erp:1"), demo.registry.address());
    let insecure = ["--insecure-registry", registry];
    demo.run(&[&["push", "--quiet", original().to_str().unwrap(), &name][..], &insecure].concat());
    let mut command = demo.carafe(&[&["verify", &name][..], &insecure].concat());
    command.env("CARAFE_CACHE_DIR", demo.path("cache"));
    with_helper(&demo, &mut command);
    let output = succeed(&mut command);
    let digest = opened(original()).image.descriptor.digest.to_string();
    assert_eq!(output.matches(&digest).count(), 2, "{output}");
    assert!(
        output.ends_with(
            "\nreproduced (bytes): its lock produces this manifest, this config and these layers\n"
        ),
        "{output}"
    );
}

#[test]
fn a_recompressed_image_is_reproduced_at_the_level_layers() {
    let demo = Demo::new();
    let path = demo.path("variant");
    let mut variant = Variant::of(original(), &path);
    variant.recompress(APP);
    variant.finish();
    let output = demo.run(&["verify", "--quiet", "--level=layers", "--keep=kept", "variant"]);
    assert_eq!(output, "");
    let [kept, built] = [&demo.path("kept"), original()].map(|path| opened(path).image.descriptor.digest);
    assert_eq!(kept, built);
}

#[test]
fn a_changed_file_is_in_the_json_output() {
    let demo = Demo::new();
    let mut variant = Variant::of(original(), &demo.path("variant"));
    variant.edit(APP, |entries| find(entries, "greetings/hooks.py").1.extend(b"import os\n"));
    variant.finish();
    demo.run(&["copy", "--quiet", "variant", "oci-archive:variant.tar"]);
    let output = demo.carafe(&["verify", "--json", "oci-archive:variant.tar"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let result = result(&stdout);
    let data = &result["data"];
    assert_eq!((&result["command"], &result["status"]), (&json!("verify"), &json!("fail")));
    assert_eq!(
        (&data["level"], &data["equal"], &data["causes"]),
        (&json!("bytes"), &json!(false), &json!({"content": 1}))
    );
    let path = data["diff"]["entries"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("apps/greetings/greetings/hooks.py"), "{path}");
}
