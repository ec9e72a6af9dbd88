//! Usage errors and `--help`.

use insta::assert_snapshot;

use crate::demo::Demo;
use crate::messages::error_output;

#[test]
fn wrong_usage_exits_with_2() {
    let demo = Demo::new();
    assert_snapshot!(error_output(&demo, 2, &["build", "--pull"]), @"
    error: unexpected argument '--pull' found

    Usage: carafe build [OPTIONS]

    For more information, try '--help'.
    ");
    assert_snapshot!(error_output(&demo, 2, &["build", "--lock", "--locked"]), @"
    error: the argument '--lock' cannot be used with '--locked'

    Usage: carafe build --lock

    For more information, try '--help'.
    ");
    assert_snapshot!(error_output(&demo, 2, &["biuld"]), @"
    error: unrecognized subcommand 'biuld'

      tip: some similar subcommands exist: 'bundle', 'build'

    Usage: carafe <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(error_output(&demo, 2, &["push", "oci:image"]), @"
    error: the following required arguments were not provided:
      <TARGET>...

    Usage: carafe push <IMAGE> <TARGET>...

    For more information, try '--help'.
    ");
    assert_snapshot!(error_output(&demo, 2, &["build", "--isolation", "docker"]), @"
    error: invalid value 'docker' for '--isolation <KIND>'
      [possible values: namespaces, none]

    For more information, try '--help'.
    ");
    error_output(&demo, 2, &[]);
}

#[test]
fn rejects_a_push_without_a_target_and_an_invalid_target() {
    let demo = Demo::new();
    let spec =
        demo.spec("").replace(&format!("tags = [\"{}\"]", demo.registry.image("demo/greetings:1")), "");
    demo.write("carafe.toml", &spec);
    assert_snapshot!(error_output(&demo, 1, &["build", "--push"]), @"
    × failed to push: no destination was given
    help: pass `--tag`, such as `--tag registry.example.com/erp:15`, or set `[image] tags` in carafe.toml
    ");
    assert_snapshot!(error_output(&demo, 1, &["build", "--push", "-t", "Not A Name"]), @"
    × failed to parse image reference `Not A Name`: it contains white space or a control character
    help: write it as `registry/repository:tag`, such as `registry.example.com/erp:15`
    ");
}

#[test]
fn help_lists_every_command() {
    let help = Demo::new().run(&["--help"]);
    assert_snapshot!(help, @"
    Turns a Frappe apps.json into an OCI image with a digest that anyone can check: no Docker, no
    daemon, no root

    Usage: carafe <COMMAND>

    Commands:
      lock     Pin every branch, tag and image reference, and write carafe.lock
      build    Build the image that the spec and the lock describe
      bundle   Write everything that a build needs into one artifact, for builds without network access
      push     Push an image from an OCI layout or an archive to registries
      copy     Copy an image, or an index with its images, between registries, OCI layouts and archives
      index    Create an index of images for several platforms
      diff     Compare two images, and report why they differ
      verify   Rebuild an image from the lock in its label, and report whether it is reproduced
      doctor   Check this machine or a registry, and report what to fix
      inspect  Show an image's config, its layers, and the lock that produced it
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      carafe lock                          pin every name in carafe.toml
      carafe build --push                  build the locked apps and push the image to the spec's tags
      carafe build --apps apps.json --frappe-branch v15.55.1 -t registry.example.com/erp:1 --push
      carafe inspect registry.example.com/erp:1
      carafe doctor --registry registry.example.com/erp
      carafe copy registry.example.com/erp:1 docker-archive:erp.tar
      carafe verify registry.example.com/erp:1
      carafe bundle --tar erp.tar          everything for `carafe build --bundle erp.tar`

    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 compared and different, 130 stopped by a signal.
    ");
}

#[test]
fn help_lists_every_flag() {
    let help = Demo::new().run(&["build", "--help"]);
    let flags: Vec<&str> =
        help.lines().filter_map(|line| line.trim_start().strip_prefix('-').map(|_| line.trim())).collect();
    assert_snapshot!(flags.join("\n"), @"
    --spec <FILE>
    --apps <FILE>
    --apps-json-base64 <BASE64>
    --frappe-path <URL>
    --frappe-branch <NAME>
    --build-image <IMAGE>
    --base-image <IMAGE>
    -t, --tag <REFERENCE>
    --lock-file <FILE>
    --isolation <KIND>
    - namespaces: User, mount, pid, ipc, uts and network namespaces
    - none:       No sandbox: the build can read and change everything that you can
    --insecure-registry <HOST[:PORT]>
    --json
    -q, --quiet
    --push
    --attach-record
    -o, --output <DIR>
    --locked
    --lock
    --update[=<HOST|PACKAGE>]
    --offline
    --bundle <BUNDLE>
    -h, --help
    ");
}
