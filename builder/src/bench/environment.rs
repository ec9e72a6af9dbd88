//! The variables that make a build quiet, bounded and the same everywhere.

use std::collections::BTreeMap;
use std::path::Path;

use super::HOME_DIR;

/// The oldest time that zip, and so a wheel, can hold: 1980-01-01T00:00:00Z.
const OLDEST_IN_ZIP: i64 = 315_532_800;

/// Where git's configuration is, inside.
pub(super) fn git_config() -> String {
    format!("{HOME_DIR}/.carafe/gitconfig")
}

/// Where bench's apps.json is, inside.
pub(super) fn apps_json() -> String {
    format!("{HOME_DIR}/.carafe/apps.json")
}

/// Where the downloads' directory is, inside.
pub(super) fn downloads() -> String {
    format!("{HOME_DIR}/.carafe/downloads")
}

/// Where the shell is by which yarn runs scripts.
pub(super) fn yarn_shell() -> String {
    format!("{HOME_DIR}/.carafe/yarn-shell")
}

/// A shell for yarn's scripts that has the last word on node's heap: frappe sets it to a share of
/// the whole machine's memory, over any `NODE_OPTIONS`, and node takes the last of several.
pub(super) fn yarn_shell_script(heap_mib: u64) -> String {
    format!(
        "#!/bin/sh\n\
         export NODE_OPTIONS=\"${{NODE_OPTIONS:+$NODE_OPTIONS }}--max-old-space-size={heap_mib}\"\n\
         exec /bin/sh \"$@\"\n"
    )
}

/// The variables of all steps, over the sandbox's own.
pub(super) fn variables(epoch: i64, heap_mib: u64, with_downloads: bool) -> BTreeMap<String, String> {
    let epoch = epoch.max(OLDEST_IN_ZIP).to_string();
    let heap = format!("--max-old-space-size={heap_mib}");
    let (git_config, yarn_shell) = (git_config(), yarn_shell());
    let mut variables = vec![
        // frappe then builds its assets and does not download some; yarn and others ask nothing.
        ("CI", "1"),
        // bench then does not ask PyPI for its own latest version at exit.
        ("FRAPPE_DOCKER_BUILD", "1"),
        // Debug information of C extensions tells the random directory that they were built in.
        ("CFLAGS", "-g0"),
        ("CXXFLAGS", "-g0"),
        ("SOURCE_DATE_EPOCH", epoch.as_str()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PIP_NO_COMPILE", "1"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONUNBUFFERED", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_NO_INPUT", "1"),
        // The python must be the build root's: a downloaded one is not in the run-time base.
        ("UV_PYTHON_DOWNLOADS", "never"),
        ("UV_LINK_MODE", "copy"),
        ("UV_NO_PROGRESS", "1"),
        ("GIT_CONFIG_GLOBAL", git_config.as_str()),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
        ("NODE_OPTIONS", heap.as_str()),
        ("YARN_SCRIPT_SHELL", yarn_shell.as_str()),
        ("YARN_DISABLE_SELF_UPDATE_CHECK", "true"),
        ("npm_config_update_notifier", "false"),
        ("NO_COLOR", "1"),
        ("TERM", "dumb"),
    ];
    let downloads = downloads();
    let caches = [
        ("UV_CACHE_DIR", "uv"),
        ("PIP_CACHE_DIR", "pip"),
        ("YARN_CACHE_FOLDER", "yarn"),
        ("npm_config_cache", "npm"),
    ]
    .map(|(name, directory)| (name, Path::new(&downloads).join(directory).to_string_lossy().into_owned()));
    if with_downloads {
        variables.extend(caches.iter().map(|(name, directory)| (*name, directory.as_str())));
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_has_the_last_word_on_the_heap() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shell");
        std::fs::write(&path, yarn_shell_script(1500)).unwrap();
        let run = |options: &str| {
            let mut command = std::process::Command::new("/bin/sh");
            command.arg(&path).args(["-c", "echo $NODE_OPTIONS"]).env("NODE_OPTIONS", options);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        assert_eq!(
            run("--max_old_space_size=17000"),
            "--max_old_space_size=17000 --max-old-space-size=1500\n"
        );
        assert_eq!(run(""), "--max-old-space-size=1500\n");
    }

    #[test]
    fn an_old_epoch_still_makes_wheels() {
        assert_eq!(variables(0, 1, false)["SOURCE_DATE_EPOCH"], "315532800");
        assert!(!variables(0, 1, false).contains_key("UV_CACHE_DIR"));
        assert_eq!(variables(0, 1, true)["UV_CACHE_DIR"], "/home/frappe/.carafe/downloads/uv");
    }

    /// An extension as pip builds one: in a random directory, which debug information tells.
    #[test]
    fn a_c_extension_does_not_tell_where_it_was_built() {
        let build = |flags: &str| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("x.c"), "int f(int x) { return x + 1; }\n").unwrap();
            let mut compiler = std::process::Command::new("cc");
            compiler.args(["-g", "-O2", "-fPIC", "-shared"]).args(flags.split_whitespace());
            compiler.args(["x.c", "-o", "x.so"]).current_dir(directory.path());
            assert!(compiler.status().unwrap().success());
            std::fs::read(directory.path().join("x.so")).unwrap()
        };
        let flags = variables(0, 1, false)["CFLAGS"].clone();
        assert!(build(&flags) == build(&flags));
        assert!(build("") != build(""), "without it, it does");
    }
}
