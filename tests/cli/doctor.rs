//! `carafe doctor`.

use crate::demo::Demo;
use crate::messages::said;

#[test]
fn a_registry_that_is_well_and_one_that_is_not_there() {
    let demo = Demo::new();
    let address = demo.registry.address();
    let name = demo.registry.image("new/erp");
    let shown = demo.run(&["doctor", "--registry", &name, "--insecure-registry", address]);
    insta::assert_snapshot!(said(&demo, &shown).replace(address.rsplit(':').next().unwrap(), "[PORT]"), @"
    ✓ name       127.0.0.1 is 127.0.0.1, port [PORT]
    ✓ tls        plain http, as it is named insecure
    - ca         plain http has none
    ✓ auth       open to everyone
    ✓ push       an upload to [REGISTRY]/new/erp was opened and cancelled
    - mount      there is no image of that name to try it with
    ! referrers  it keeps no track of them: they are listed under a tag
    ✓ chunks     taken, of any size
    ");

    let json = demo.run(&["doctor", "--json", "--registry", &name, "--insecure-registry", address]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["event"], &json["well"]), (&"result".into(), &true.into()));
    assert_eq!(json["checks"][4]["name"], "push");

    // Not named as insecure.
    demo.write("empty.toml", "");
    demo.fail(1, &["doctor", "--registry", &name, "--spec", "empty.toml"]);
    insta::assert_snapshot!(said(&demo, &demo.fail(1, &["doctor", "--registry", "https://r.io"])), @"
    × `https://r.io` names neither a registry nor a repository
    help: write `registry.example.com`, or `registry.example.com/project/erp:15`
    ");
}

/// The tables of the spec count, and of it nothing else.
#[test]
fn the_specs_registry_tables_are_used() {
    let demo = Demo::new();
    let address = demo.registry.address();
    demo.write("carafe.toml", &format!("[registry.\"{address}\"]\ninsecure = true\n"));
    demo.run(&["doctor", "--registry", address]);
}

/// The tests need what it looks for.
#[test]
fn this_machine_is_well() {
    let shown = Demo::new().run(&["doctor"]);
    assert!(shown.contains("✓ processor") && shown.contains("✓ sandbox"), "{shown}");
}
