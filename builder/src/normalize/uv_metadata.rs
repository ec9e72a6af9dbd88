//! Removes uv's `uv_cache.json`, and its line in `RECORD`.

use std::path::Path;

use super::bench_tree::BenchTree;
use super::error::NormalizeError;
use super::rule::Rule;

pub(super) const RULE: Rule = Rule {
    name: "uv-metadata",
    reason: "uv_cache.json contains the change time of pyproject.toml, and RECORD the hash of uv_cache.json",
    apply,
};

const CACHE_FILE: &str = "uv_cache.json";

fn apply(tree: &BenchTree) -> Result<usize, NormalizeError> {
    let cache_files = tree.find("env", |entry| {
        let directory = entry.path().parent().and_then(Path::extension);
        entry.file_name() == CACHE_FILE && directory.is_some_and(|extension| extension == "dist-info")
    })?;
    for cache_file in &cache_files {
        let record = cache_file.with_file_name("RECORD");
        let text = tree.read_text(&record)?;
        let dist_info = cache_file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let kept = without(&text, &format!("{dist_info}/{CACHE_FILE}"))
            .ok_or_else(|| NormalizeError::unsupported(&record, format!("it does not list {CACHE_FILE}")))?;
        tree.write(&record, kept)?;
        tree.remove(cache_file)?;
    }
    Ok(cache_files.len())
}

/// `RECORD` (CSV: path, hash, size) without the line of `path`. `None` unless there is exactly one.
fn without(record: &str, path: &str) -> Option<String> {
    let is_of_path = |line: &&str| line.strip_prefix(path).is_some_and(|rest| rest.starts_with(','));
    let lines: Vec<_> = record.split_inclusive('\n').collect();
    let kept: Vec<_> = lines.iter().copied().filter(|line| !is_of_path(line)).collect();
    (kept.len() + 1 == lines.len()).then(|| kept.concat())
}

#[cfg(test)]
mod tests {
    use super::super::bench_tree::tests::bench;
    use super::*;

    const INFO: &str = "env/lib/python3.11/site-packages/frappe-1.0.0.dist-info";
    const CACHE_TEXT: &str = r#"{"timestamp":{"secs_since_epoch":1795260000,"nanos_since_epoch":1}}"#;
    const RECORD: &str = "frappe-1.0.0.dist-info/INSTALLER,sha256:5hhM4Q4mYTT9z6QB6PGpUAW81PGNFrYrdXMj4oM_6ak,2\n\
        frappe-1.0.0.dist-info/RECORD,,\n\
        frappe-1.0.0.dist-info/uv_cache.json,sha256:EP_JLRq3q3AtKXi9zeHiHsvCsyLRnnLMRq6nqjV2E1Y,113\n\
        frappe.pth,sha256:1fYAVGsIYMAyfOHs3KmYE4pXAUpXQ5zZTdMqiuXj5j0,37\n";

    #[test]
    fn removes_the_file_and_its_line() {
        let (cache_file, record) = (format!("{INFO}/{CACHE_FILE}"), format!("{INFO}/RECORD"));
        let (directory, tree) = bench(&[(&cache_file, CACHE_TEXT), (&record, RECORD)], Vec::new());
        assert_eq!(apply(&tree).unwrap(), 1);
        assert!(!directory.path().join(cache_file).exists());
        let text = std::fs::read_to_string(directory.path().join(record)).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(!text.contains(CACHE_FILE));
        assert!(text.ends_with(",37\n"));
        assert_eq!(apply(&tree).unwrap(), 0);
    }

    #[test]
    fn rejects_a_record_without_the_line() {
        let (cache_file, record) = (format!("{INFO}/{CACHE_FILE}"), format!("{INFO}/RECORD"));
        let (_directory, tree) = bench(&[(&cache_file, CACHE_TEXT), (&record, "frappe.pth,,\n")], Vec::new());
        let error = apply(&tree).unwrap_err().to_string();
        assert!(error.contains("RECORD` in the bench: it does not list uv_cache.json"), "{error}");
    }
}
