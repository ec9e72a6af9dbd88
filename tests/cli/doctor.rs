//! `carafe doctor`.

use crate::demo::Demo;
use crate::messages::normalized;

#[test]
fn a_registry_that_passes_and_one_that_fails() {
    let demo = Demo::new();
    let address = demo.registry.address();
    let name = demo.registry.image("new/erp");
    let shown = demo.run(&["doctor", "--registry", &name, "--insecure-registry", address]);
    insta::assert_snapshot!(normalized(&demo, &shown).replace(address.rsplit(':').next().unwrap(), "[PORT]"), @"
    ✓ name       127.0.0.1 has the address 127.0.0.1, port [PORT]
    ✓ tls        plain http, because it is marked as insecure
    - ca         plain http has no certificate
    ✓ auth       no authentication is required
    ✓ push       an upload to [REGISTRY]/new/erp was opened and canceled
    - mount      the image does not exist, so there is no blob to check it with
    ! referrers  no referrers API: they are listed under a tag
    ✓ chunks     accepted, of any size
    ");

    // Without --insecure-registry.
    demo.write("empty.toml", "");
    demo.fail(1, &["doctor", "--registry", &name, "--spec", "empty.toml"]);
    insta::assert_snapshot!(normalized(&demo, &demo.fail(1, &["doctor", "--registry", "https://r.io"])), @"
    × failed to parse `https://r.io`: it is neither a registry nor a repository
    help: pass a host or a repository, such as `registry.example.com/project/erp:15`
    ");
}

/// Only the `[registry]` tables of the spec are read.
#[test]
fn the_specs_registry_tables_are_used() {
    let demo = Demo::new();
    let address = demo.registry.address();
    demo.write("carafe.toml", &format!("[registry.\"{address}\"]\ninsecure = true\n"));
    demo.run(&["doctor", "--registry", address]);
}

/// The tests need what these checks find.
#[test]
fn this_machine_passes() {
    let shown = Demo::new().run(&["doctor"]);
    assert!(shown.contains("✓ processor") && shown.contains("✓ sandbox"), "{shown}");
}
