//! Which tools the build root has.

use std::collections::BTreeMap;

/// Names, and whether a build is possible without.
const TOOLS: [(&str, bool); 6] =
    [("bench", true), ("git", true), ("node", true), ("python3", true), ("uv", false), ("yarn", true)];

/// A shell script that prints each tool's name and the first line of what it says of its version,
/// with a tab between, and nothing for one that is not there.
pub(super) fn script() -> String {
    let names = TOOLS.map(|(name, _)| name).join(" ");
    format!(
        "for tool in {names}; do\n\
         command -v $tool >/dev/null || continue\n\
         printf '%s\\t%s\\n' $tool \"$($tool --version 2>/dev/null | head -n 1)\"\n\
         done"
    )
}

/// Versions by tool, and the names of those that are needed and not there.
pub(super) fn parse<'a>(
    lines: impl Iterator<Item = &'a str>,
) -> (BTreeMap<String, String>, Vec<&'static str>) {
    let said = lines.filter_map(|line| line.split_once('\t'));
    let known = said.filter(|(name, _)| TOOLS.iter().any(|(tool, _)| tool == name));
    let tools: BTreeMap<String, String> =
        known.filter_map(|(name, said)| Some((name.to_owned(), version(said)?.to_owned()))).collect();
    let missing = TOOLS.iter().filter(|(name, needed)| *needed && !tools.contains_key(*name));
    let missing = missing.map(|(name, _)| *name).collect();
    (tools, missing)
}

/// `3.11.2` of `Python 3.11.2`, `v20.20.2`, `git version 2.39.5`, `uv 0.9.2 (abc 2026-01-01)`.
fn version(said: &str) -> Option<&str> {
    let word = said
        .split_whitespace()
        .find(|word| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()))?;
    Some(word.trim_start_matches('v'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_from_what_tools_say() {
        let said = "bench\t5.31.1\ngit\tgit version 2.39.5\nnode\tv18.20.4\npython3\tPython 3.11.2\n\
            uv\tuv 0.9.11 (8d8aabb88 2025-11-20)\nevil\t1\nnoise";
        let (tools, missing) = parse(said.lines());
        let shown: Vec<_> = tools.iter().map(|(name, version)| format!("{name} {version}")).collect();
        assert_eq!(shown, ["bench 5.31.1", "git 2.39.5", "node 18.20.4", "python3 3.11.2", "uv 0.9.11"]);
        assert_eq!(missing, ["yarn"]);
    }

    #[test]
    fn the_script_tells_what_is_there() {
        let output = std::process::Command::new("sh").args(["-c", &script()]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(parse(said.lines()).0.contains_key("git"), "{said}");
    }
}
