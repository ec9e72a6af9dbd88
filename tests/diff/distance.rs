//! The number of commits between two versions of an app, from its repository.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::images::{data, diff, image};
use crate::unpack_support::Tar;

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(arguments).current_dir(directory);
    let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn lock(url: &str, commit: &str) -> Value {
    let digest = "0".repeat(64);
    let image = format!("reference = \"docker.io/x\"\ndigest = \"sha256:{digest}\"\n");
    json!({"dev.carafe.lock": format!(
        "version = 1\nformat-version = 1\nspec = \"sha256:{digest}\"\nsource-date-epoch = 1\n\
         [build-image]\n{image}[base-image]\n{image}[tools]\n\
         [[app]]\nname = \"frappe\"\nurl = \"{url}\"\nbranch = \"main\"\ncommit = \"{commit}\"\n\
         tree = \"{commit}\"\ntime = 1\n"
    )})
}

#[test]
fn counts_commits_on_request() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    git(path, &["init", "--quiet", "--initial-branch=main", "repository"]);
    let repository = path.join("repository");
    git(&repository, &["config", "uploadpack.allowFilter", "true"]);
    let commits = ["1", "2", "3"].map(|name| {
        git(&repository, &["commit", "--quiet", "--allow-empty", "--message", name]);
        git(&repository, &["rev-parse", "HEAD"])
    });
    let url = format!("file://{}", repository.display());
    image(&path.join("old"), &[Tar::new()], lock(&url, &commits[0]));
    image(&path.join("new"), &[Tar::new()], lock(&url, &commits[2]));
    let moved = format!("branch main at {} -> branch main at {}", commits[0], commits[2]);

    let text = diff(path, 3, &["old", "new", "--distance"]);
    assert!(text.contains(&format!("{moved} (2 commits ahead, 0 behind)\n")), "{text}");
    let text = diff(path, 3, &["old", "new"]);
    assert!(text.contains(&format!("{moved}\n")), "{text}");
    let json = data(path, 3, &["new", "old", "--distance"]);
    assert_eq!(json["frappe"]["apps"][0]["distance"], json!({"ahead": 0, "behind": 2}));

    // A commit that does not exist any more: the distance is unknown, which is not a failure.
    image(&path.join("missing"), &[Tar::new()], lock(&url, &"c".repeat(40)));
    let text = diff(path, 3, &["old", "missing", "--distance"]);
    assert!(!text.contains("commits ahead"), "{text}");
}
