//! The variables that make a build non-interactive, bounded and reproducible.

use std::collections::BTreeMap;
use std::path::Path;

use super::paths::HOME_DIR;

/// The earliest time that a zip file, and so a wheel, can have: 1980-01-01T00:00:00Z.
const MIN_ZIP_TIME: i64 = 315_532_800;

/// The path of git's configuration in the sandbox.
pub(super) fn git_config() -> String {
    format!("{HOME_DIR}/.carafe/gitconfig")
}

/// The path of bench's apps.json in the sandbox.
pub(super) fn apps_json() -> String {
    format!("{HOME_DIR}/.carafe/apps.json")
}

/// The path of the clients' caches in the sandbox.
pub(super) fn downloads() -> String {
    format!("{HOME_DIR}/.carafe/downloads")
}

/// The path of the shell that yarn runs scripts with.
pub(super) fn yarn_shell() -> String {
    format!("{HOME_DIR}/.carafe/yarn-shell")
}

/// A shell for yarn's scripts that limits node's heap: frappe sets the limit to a share of this
/// machine's memory and overrides `NODE_OPTIONS`, and node uses the last of several limits.
pub(super) fn yarn_shell_script(heap_mib: u64) -> String {
    format!(
        "#!/bin/sh\n\
         export NODE_OPTIONS=\"${{NODE_OPTIONS:+$NODE_OPTIONS }}--max-old-space-size={heap_mib}\"\n\
         exec /bin/sh \"$@\"\n"
    )
}

/// The variables of all steps, which override the sandbox's own.
pub(super) fn variables(epoch: i64, heap_mib: u64, with_downloads: bool) -> BTreeMap<String, String> {
    let epoch = epoch.max(MIN_ZIP_TIME).to_string();
    let heap = format!("--max-old-space-size={heap_mib}");
    let (git_config, yarn_shell) = (git_config(), yarn_shell());
    let mut variables = vec![
        // Makes frappe build its assets instead of downloading some, and yarn and others not prompt.
        ("CI", "1"),
        // Makes bench not request its own latest version from PyPI at exit.
        ("FRAPPE_DOCKER_BUILD", "1"),
        // Debug information of C extensions contains the random directory that they were built in.
        ("CFLAGS", "-g0"),
        ("CXXFLAGS", "-g0"),
        ("SOURCE_DATE_EPOCH", epoch.as_str()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PIP_NO_COMPILE", "1"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONUNBUFFERED", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_NO_INPUT", "1"),
        // Python must be the build image's: a downloaded one is not in the base image.
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
    fn the_shells_heap_limit_overrides_earlier_ones() {
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
    fn raises_an_epoch_that_zip_does_not_support() {
        assert_eq!(variables(0, 1, false)["SOURCE_DATE_EPOCH"], "315532800");
        assert!(!variables(0, 1, false).contains_key("UV_CACHE_DIR"));
        assert_eq!(variables(0, 1, true)["UV_CACHE_DIR"], "/home/frappe/.carafe/downloads/uv");
    }

    /// Builds an extension like pip: in a random directory, which debug information contains.
    #[test]
    fn a_c_extension_is_independent_of_its_build_directory() {
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
        assert!(build("") != build(""), "without the flags it depends on the directory");
    }
}
