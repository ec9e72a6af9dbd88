//! A push that runs during the build.

use serde_json::Value;

use crate::demo::Demo;

/// The events of `carafe build --push --json`, in order.
fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_blob_is_uploaded_when_its_bytes_are_ready() {
    let demo = Demo::new();
    demo.run(&["lock", "--quiet"]);
    // The second registry is unreachable, which does not delay the upload to the first one.
    let (reachable, unreachable) = (demo.registry.image("demo/greetings:1"), "127.0.0.1:9/demo/greetings:1");
    let mut both = vec!["build", "--push", "--json", "-t", &reachable, "-t", unreachable];
    both.extend(["--insecure-registry", "127.0.0.1:9"]);
    let output = demo.carafe(&both).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("127.0.0.1:9") && stderr.contains("the others are complete"), "{stderr}");
    let events = events(&String::from_utf8(output.stdout).unwrap());
    let started = |stage: &str| -> Vec<(usize, &Value)> {
        let of_stage = |event: &Value| event["event"] == "task_started" && event["stage"] == stage;
        let all = events.iter().enumerate().filter(|(_, event)| of_stage(event));
        all.map(|(index, event)| (index, &event["task"])).collect()
    };
    // The base image's blobs are available before bench runs.
    let (push, task) = started("push")[0];
    assert!(push < started("build")[0].0);
    assert_eq!(started("push").len(), 2, "one task for each registry, from the first blob to the last");

    // Each layer of our own goes before the next one is packed.
    let ready = |event: &Value| event["event"] == "task_extended" && event["task"] == *task;
    let packed: Vec<usize> = started("pack").into_iter().map(|(place, _)| place).collect();
    assert!(packed.len() > 4, "{packed:?}");
    for pair in packed.windows(2) {
        assert_eq!(events[pair[0]..pair[1]].iter().filter(|event| ready(event)).count(), 1, "{pair:?}");
    }

    // Its time counts from where nothing else is left to do.
    let awaited = |event: &Value| event["event"] == "task_awaited" && event["task"] == *task;
    let place = events.iter().position(awaited).unwrap();
    assert!(place > *packed.last().unwrap());
    assert!(!events[..place].iter().any(|event| event["event"] == "task_finished" && event["task"] == *task));

    // All announced bytes were uploaded and reported.
    let sum = |name: &str| -> u64 {
        let of_push = events.iter().filter(|event| event["event"] == name && event["task"] == *task);
        of_push.map(|event| event["amount"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("task_extended"), sum("task_advanced"));
    let blobs = events.last().unwrap()["data"]["pushed"][0]["blobs"].as_array().unwrap();
    assert_eq!(blobs.len(), packed.len() + 2, "the base's layer and the config too");
    assert!(blobs.iter().all(|blob| blob["delivery"] == "sent"), "{blobs:?}");
}
