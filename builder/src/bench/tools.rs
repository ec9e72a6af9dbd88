//! The versions of the tools in the build image.

use std::collections::BTreeMap;

/// Names, and whether a build requires the tool.
const TOOLS: [(&str, bool); 6] =
    [("bench", true), ("git", true), ("node", true), ("python3", true), ("uv", false), ("yarn", true)];

/// A shell script that prints, for each tool that exists, its name, a tab, and the first line of its
/// `--version`.
pub(super) fn script() -> String {
    let names = TOOLS.map(|(name, _)| name).join(" ");
    format!(
        "for tool in {names}; do\n\
         command -v $tool >/dev/null || continue\n\
         printf '%s\\t%s\\n' $tool \"$($tool --version 2>/dev/null | head -n 1)\"\n\
         done"
    )
}

/// The versions by tool, and the names of required tools that are missing.
pub(super) fn parse<'a>(
    lines: impl Iterator<Item = &'a str>,
) -> (BTreeMap<String, String>, Vec<&'static str>) {
    let pairs = lines.filter_map(|line| line.split_once('\t'));
    let known = pairs.filter(|(name, _)| TOOLS.iter().any(|(tool, _)| tool == name));
    let tools: BTreeMap<String, String> =
        known.filter_map(|(name, output)| Some((name.to_owned(), version(output)?.to_owned()))).collect();
    let missing = TOOLS.iter().filter(|(name, required)| *required && !tools.contains_key(*name));
    let missing = missing.map(|(name, _)| *name).collect();
    (tools, missing)
}

/// `3.11.2` of `Python 3.11.2`, `v20.20.2`, `git version 2.39.5`, `uv 0.9.2 (abc 2026-01-01)`.
fn version(output: &str) -> Option<&str> {
    let word = output
        .split_whitespace()
        .find(|word| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()))?;
    Some(word.trim_start_matches('v'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_versions_that_tools_print() {
        let output = "bench\t5.31.1\ngit\tgit version 2.39.5\nnode\tv18.20.4\npython3\tPython 3.11.2\n\
            uv\tuv 0.9.11 (8d8aabb88 2025-11-20)\nevil\t1\nnoise";
        let (tools, missing) = parse(output.lines());
        let shown: Vec<_> = tools.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(shown, ["bench 5.31.1", "git 2.39.5", "node 18.20.4", "python3 3.11.2", "uv 0.9.11"]);
        assert_eq!(missing, ["yarn"]);
    }

    #[test]
    fn the_script_prints_the_tools_that_exist() {
        let output = std::process::Command::new("sh").args(["-c", &script()]).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(parse(stdout.lines()).0.contains_key("git"), "{stdout}");
    }
}
