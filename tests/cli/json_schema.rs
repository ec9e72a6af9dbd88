//! The output of every command with `--json`, validated against `docs/schemas/output.schema.json`.

use serde_json::{Value, json};

use crate::demo::{Demo, bases};
use crate::json_output::{result, schema_errors};
use crate::registry::{RegistryServer, Setup};

/// Runs a command with `--json`, and returns its result.
#[track_caller]
fn run(demo: &Demo, exit_code: i32, arguments: &[&str]) -> Value {
    let output = demo.carafe(&[arguments, &["--json"]].concat()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {stderr}");
    let result = result(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(result["exit_code"], json!(exit_code), "{arguments:?}");
    result
}

#[track_caller]
fn assert_result(result: &Value, command: &str, status: &str) {
    assert_eq!((&result["command"], &result["status"]), (&json!(command), &json!(status)), "{result}");
}

#[test]
fn every_command_of_a_build_keeps_to_the_schema() {
    let demo = Demo::new();
    assert_result(&run(&demo, 3, &["lock", "--check"]), "lock_check", "fail");
    let lock = run(&demo, 0, &["lock"]);
    assert_result(&lock, "lock", "ok");
    assert_eq!(lock["data"]["changes"], json!([]), "there was no earlier lock");
    assert_result(&run(&demo, 0, &["lock", "--check"]), "lock_check", "ok");

    let build = run(&demo, 0, &["build", "--push", "--attach-record"]);
    assert_eq!(build["command"], json!("build"));
    assert_eq!(build["data"]["recording"]["is_new"], json!(true));
    let image = demo.registry.image("demo/greetings:1");
    let insecure = ["--insecure-registry", demo.registry.address()];
    let inspect = run(&demo, 0, &[&["inspect", &image][..], &insecure].concat());
    assert_result(&inspect, "inspect", "ok");
    assert_eq!(inspect["data"]["digest"], build["data"]["digest"]);
    assert_eq!(inspect["data"]["lock"], json!(std::fs::read_to_string(demo.path("carafe.lock")).unwrap()));

    assert_result(&run(&demo, 0, &["bundle", "--tar", "bundle.tar"]), "bundle", "ok");
    let list = run(&demo, 0, &["bundle", "--list", "bundle.tar"]);
    assert_result(&list, "bundle_list", "ok");
    let again = run(&demo, 0, &["build", "--bundle", "bundle.tar", "--output", "image"]);
    assert_eq!(again["data"]["recording"]["is_new"], json!(false));
    assert_eq!(again["data"]["digest"], build["data"]["digest"]);

    let verify = ["verify", "image", "--bundle", "bundle.tar", "--offline"];
    let verify = run(&demo, 0, &verify);
    assert_eq!((&verify["command"], &verify["data"]["equal"]), (&json!("verify"), &json!(true)));
    let base = format!("oci:{}/base-image", bases().display());
    let diff = run(&demo, 3, &["diff", "image", &base]);
    assert_result(&diff, "diff", "fail");
    assert_eq!(diff["error"], json!(null), "a difference is not an error");
}

#[test]
fn every_command_for_images_keeps_to_the_schema() {
    let demo = Demo::new();
    let base = format!("oci:{}/base-image", bases().display());
    let (image, registry) = (demo.registry.image("base:1"), demo.registry.address());
    let insecure = ["--insecure-registry", registry];
    assert_result(&run(&demo, 0, &[&["push", &base, &image][..], &insecure].concat()), "push", "ok");
    let copy = run(&demo, 0, &[&["copy", &image, "oci:copy"][..], &insecure].concat());
    assert_result(&copy, "copy", "ok");
    let index = run(&demo, 0, &["index", "create", "oci:index", "oci:copy"]);
    assert_result(&index, "index_create", "ok");
    let diff = run(&demo, 0, &["diff", "copy", &base]);
    assert_result(&diff, "diff", "ok");
    assert_result(&run(&demo, 0, &["inspect", "copy"]), "inspect", "ok");
    let doctor = run(&demo, 0, &[&["doctor", "--registry", &image][..], &insecure].concat());
    assert_result(&doctor, "doctor", "warn");
    assert_eq!(doctor["data"]["checks"][4]["name"], json!("push"));
    let doctor = run(&demo, 1, &["doctor", "--registry", &image, "--spec", "missing.toml"]);
    assert_result(&doctor, "doctor", "fail");
}

#[test]
fn a_failure_has_a_result_with_its_causes_and_help() {
    let demo = Demo::new();
    let missing = run(&demo, 1, &["diff", "oci:missing", "oci:missing"]);
    assert_result(&missing, "diff", "fail");
    assert_eq!(missing["data"], json!(null));
    let causes = missing["error"]["causes"].as_array().unwrap();
    assert!(causes.iter().any(|cause| cause.as_str().unwrap().contains("No such file")), "{missing}");
    assert!(missing["error"]["help"].is_string(), "{missing}");
    demo.write("carafe.toml", "[image]\nunknown = 1\n");
    for command in [&["lock"][..], &["lock", "--check"], &["build"], &["bundle"]] {
        assert!(run(&demo, 1, command)["error"]["message"].is_string());
    }
}

/// One registry accepts the push and the other one does not: the result has both.
#[test]
fn a_partial_push_has_data_and_an_error() {
    let demo = Demo::new();
    let closed = RegistryServer::with(Setup { login: Some(("builder", "pass-3b8e")), ..Setup::default() });
    let base = format!("oci:{}/base-image", bases().display());
    let (one, two) = (demo.registry.image("a:1"), closed.image("a:1"));
    let insecure = ["--insecure-registry", demo.registry.address(), "--insecure-registry", closed.address()];
    let push = run(&demo, 1, &[&["push", &base, &one, &two][..], &insecure].concat());
    assert_result(&push, "push", "fail");
    assert_eq!(push["data"]["pushed"].as_array().map(Vec::len), Some(1), "{push}");
    assert!(push["error"]["message"].as_str().unwrap().contains("1 of 2 registries"), "{push}");
}

#[test]
fn the_schema_rejects_what_is_not_documented() {
    let demo = Demo::new();
    let base = format!("oci:{}/base-image", bases().display());
    let output = demo.run(&["inspect", &base, "--json"]);
    assert_eq!(schema_errors(&output), None);
    let mut line: Value = serde_json::from_str(&output).unwrap();
    line["data"]["planted"] = json!(1);
    assert!(schema_errors(&line.to_string()).unwrap().contains("planted"));
    assert!(schema_errors(&output.repeat(2)).unwrap().contains("results in lines [1, 2]"));
    let mut line: Value = serde_json::from_str(&output).unwrap();
    line["status"] = json!("fail");
    assert!(schema_errors(&line.to_string()).is_some());
}
