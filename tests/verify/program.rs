//! The whole command: from an image's name to a verdict, with a real rebuild.

use std::process::Command;

use serde_json::{Value, json};

use crate::demo::{Demo, TOKEN, succeed};
use crate::variants::{APP, Variant, find, opened, original};

/// A home whose git knows the token of the example's server: a lock has no credentials.
fn with_helper(demo: &Demo, command: &mut Command) {
    let helper =
        format!("[credential]\n\thelper = \"!f() {{ echo username=ci; echo password={TOKEN}; }}; f\"\n");
    demo.write("home/.gitconfig", &helper);
    command.env("HOME", demo.path("home"));
}

#[test]
fn an_image_in_a_registry_is_all_that_is_needed() {
    let demo = Demo::new();
    let (name, registry) = (demo.registry.image("erp:1"), demo.registry.address());
    let insecure = ["--insecure-registry", registry];
    demo.run(&[&["push", "--quiet", original().to_str().unwrap(), &name][..], &insecure].concat());
    let mut command = demo.carafe(&[&["verify", &name][..], &insecure].concat());
    command.env("CARAFE_CACHE_DIR", demo.path("cache"));
    with_helper(&demo, &mut command);
    let said = succeed(&mut command);
    let digest = opened(original()).image.descriptor.digest.to_string();
    assert_eq!(said.matches(&digest).count(), 2, "{said}");
    assert!(
        said.ends_with("\nequal (bytes): its lock gives this manifest, this config and these layers\n"),
        "{said}"
    );
}

#[test]
fn another_compression_is_equal_in_its_layers_alone() {
    let demo = Demo::new();
    let path = demo.path("variant");
    let mut variant = Variant::of(original(), &path);
    variant.compress_anew(APP);
    variant.finish();
    let said = demo.run(&["verify", "--quiet", "--level=layers", "--keep=kept", "variant"]);
    assert_eq!(said, "");
    let [kept, built] = [&demo.path("kept"), original()].map(|path| opened(path).image.descriptor.digest);
    assert_eq!(kept, built);
}

#[test]
fn a_changed_file_is_named_in_json() {
    let demo = Demo::new();
    let mut variant = Variant::of(original(), &demo.path("variant"));
    variant.edit(APP, |entries| find(entries, "greetings/hooks.py").1.extend(b"import os\n"));
    variant.finish();
    succeed(
        Command::new("tar")
            .args(["--create", "--file=variant.tar", "--directory=variant", "."])
            .current_dir(demo.path("")),
    );
    let output = demo.carafe(&["verify", "--json", "oci-archive:variant.tar"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&result["event"], &result["level"], &result["equal"], &result["causes"]),
        (&json!("result"), &json!("bytes"), &json!(false), &json!({"content": 1}))
    );
    let path = result["diff"]["entries"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("apps/greetings/greetings/hooks.py"), "{path}");
}
