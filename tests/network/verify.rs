//! `carafe verify` of an image whose recording is lost, attached, or in a bundle, after the content of
//! the hosts has changed.

use std::process::Command;

use serde_json::{Value, json};

use crate::demo::succeed;
use crate::registry::RegistryServer;
use crate::world::{World, finished};

/// `carafe verify` with its own cache, and the mirrors in the user's configuration.
fn verify(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.carafe(&[&["verify", "--json"], arguments].concat());
    command.env("CARAFE_CACHE_DIR", world.path("cold"));
    command
}

/// The data of its JSON result.
fn result(command: &mut Command, code: i32) -> Value {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}{stdout}");
    let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    result["data"].clone()
}

/// Removes from the cold cache what a rebuild could reuse of the previous one.
fn forget(world: &World) {
    for directory in ["records-v1", "bodies-v1", "git-v1", "downloads-v2"] {
        let _ = std::fs::remove_dir_all(world.path("cold").join(directory));
    }
}

#[test]
fn the_recording_is_read_from_the_registry_or_a_bundle() {
    let mut world = World::new();
    let registry = RegistryServer::start();
    let (attached, plain) = (registry.image("attached:1"), registry.image("plain:1"));
    let insecure = ["--insecure-registry", registry.address()];
    let push = ["build", "--push", "--attach-record", "--tag", &attached];
    let built = finished(&mut world.carafe(&[&push[..], &insecure].concat()));
    succeed(&mut world.carafe(&[&["copy", &attached, &plain][..], &insecure].concat()));
    succeed(&mut world.carafe(&["bundle", "--quiet", "--output", "bundle"]));
    let spec = world.read("carafe.toml");
    let (_, tables) = spec.split_once("[mirrors]").unwrap();
    std::fs::create_dir_all(world.path("config/carafe")).unwrap();
    std::fs::write(world.path("config/carafe/config.toml"), format!("[mirrors]{tables}")).unwrap();
    world.hosts().publish(&["python:lantern:1.1.0"]);

    // Fetched again, the index has a newer package.
    let moved = result(&mut verify(&world, &[&[plain.as_str()][..], &insecure].concat()), 3);
    let lantern = json!({"kind": "python_package", "name": "lantern", "want": "1.1.0", "got": "1.0.0"});
    let inputs = moved["changed_inputs"].as_array().unwrap();
    assert!(inputs.contains(&lantern), "{moved}");
    assert!(inputs.iter().any(|input| input["kind"] == json!("recording")), "{moved}");
    let explained = moved["explained_entries"].as_array().unwrap();
    assert!(
        explained.iter().any(|entry| entry["input"] == json!({"kind": "python_package", "name": "lantern"})),
        "{moved}"
    );

    forget(&world);
    let equal = result(&mut verify(&world, &[&[attached.as_str()][..], &insecure].concat()), 0);
    let digest = json!(built.digest);
    assert_eq!((&equal["equal"], &equal["diff"]["got"]["digest"]), (&json!(true), &digest));

    world.hosts = None;
    forget(&world);
    let offline = ["--offline", &plain, "--insecure-registry", registry.address()];
    let output = verify(&world, &offline).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("`--offline`"), "{stderr}");
    let equal = result(&mut verify(&world, &[&offline[..], &["--bundle", "bundle"]].concat()), 0);
    assert_eq!((&equal["equal"], &equal["diff"]["want"]["digest"]), (&json!(true), &digest));
}
