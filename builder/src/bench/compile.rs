//! Compiling a bench's Python sources at the end of a build, for containers that start from read-only
//! layers.

use std::num::NonZeroUsize;

use super::paths::BENCH_DIR;

/// A change of its output is a format break.
const SCRIPT: &str = include_str!("../../assets/compile.py");

/// The command that compiles all Python sources in env/ and apps/, except `node_modules`, and prints
/// which files it leaves out. Its output files depend only on the sources and on Python's version, not
/// on the number of workers.
pub(super) fn command(workers: NonZeroUsize) -> Vec<String> {
    let python = format!("{BENCH_DIR}/env/bin/python");
    let directories = ["env", "apps"].map(|directory| format!("{BENCH_DIR}/{directory}"));
    [python].into_iter().chain(arguments(workers)).chain(directories).collect()
}

/// Runs without site-packages, where an app may have put code that runs at start.
fn arguments(workers: NonZeroUsize) -> Vec<String> {
    let mut arguments = ["-S", "-B", "-W", "ignore", "-X", "utf8", "-c", SCRIPT].map(str::to_owned).to_vec();
    arguments.push(workers.to_string());
    arguments
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    /// Names that another file has too, sets, and constants that are one object or several.
    const SOURCE: &str = "
def outer(x):
    class Inner:
        class Meta:
            name = 'a b'
    return Inner, 'outer.<locals>.Inner', x in {'a', 'b', 3, 'c d'}, '-', 1e9, (1, ('a b', b'-')), x[1:2]
";

    fn write_sources(root: &Path) {
        for (path, text) in [
            ("env/lib/a.py", SOURCE),
            ("apps/x/a.py", SOURCE),
            ("apps/x/b.py", SOURCE),
            ("apps/x/naïve.py", "naïve = 'naïve'\n"),
            ("apps/x/template.py", "class {{ name }}:\n"),
            ("apps/x/old.py", "print 'python 2'\n"),
            ("apps/x/nul.py", "a\0b"),
            ("apps/x/node_modules/gyp/a.py", SOURCE),
            ("apps/x/text.txt", ""),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("a.py", root.join("apps/x/link.py")).unwrap();
    }

    fn run(root: &Path, prefix: &str, edits: &[(&str, &str)], workers: usize) -> Output {
        let mut arguments = arguments(NonZeroUsize::new(workers).unwrap());
        let script = arguments.iter_mut().find(|argument| *argument == SCRIPT).unwrap();
        for (from, to) in edits {
            assert!(script.contains(from));
            *script = script.replace(from, to);
        }
        script.insert_str(0, prefix);
        let mut command = Command::new("/usr/bin/python3");
        command.env("PYTHONHASHSEED", "0").args(&arguments).args(["env", "apps"].map(|name| root.join(name)));
        command.output().unwrap()
    }

    /// Compiles, removes every `.pyc` file, and returns their contents by source, and the output.
    fn compile(root: &Path, prefix: &str, edits: &[(&str, &str)], workers: usize) -> (Pycs, String) {
        let output = run(root, prefix, edits, workers);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found = BTreeMap::new();
        for entry in walkdir::WalkDir::new(root) {
            let entry = entry.unwrap();
            if entry.path().extension().is_some_and(|extension| extension == "pyc") {
                let source = entry.path().to_string_lossy().replace("__pycache__/", "");
                let (source, _) = source.split_once(".cpython").unwrap();
                found
                    .insert(source[root.as_os_str().len() + 1..].to_owned(), fs::read(entry.path()).unwrap());
                fs::remove_file(entry.path()).unwrap();
            }
        }
        (found, String::from_utf8(output.stdout).unwrap())
    }

    type Pycs = BTreeMap<String, Vec<u8>>;

    /// Interns strings of the sources in the process before it compiles.
    const INTERNED: &str = "import sys
kept = [sys.intern(text) for text in ('-', 'a b', 'outer.<locals>.Inner', 'naïve')]
";

    #[test]
    fn bytecode_depends_on_the_sources_only() {
        let directory = tempfile::tempdir().unwrap();
        write_sources(directory.path());
        let (pycs, output) = compile(directory.path(), "", &[], 1);
        let names: Vec<_> = pycs.keys().map(String::as_str).collect();
        assert_eq!(names, ["apps/x/a", "apps/x/b", "apps/x/naïve", "env/lib/a"]);
        assert!(pycs.values().all(|pyc| pyc[4..8] == [1, 0, 0, 0]), "unchecked hashes");
        for left_out in ["template.py': SyntaxError", "old.py': SyntaxError", "nul.py': "] {
            assert!(output.contains(left_out), "{output}");
        }

        let reversed: &[_] = &[("paths = sorted(", "paths = (lambda paths: sorted(paths)[::-1])(")];
        let imports = "import json, email.mime, http.client, unittest, argparse, logging, typing\n";
        for (prefix, edits, workers) in
            [("", &[][..], 2), ("", reversed, 1), (imports, &[], 1), (INTERNED, &[], 3)]
        {
            let again = compile(directory.path(), prefix, edits, workers).0;
            assert!(again == pycs, "{prefix} {edits:?} {workers}");
        }
    }

    /// The script's two corrections are necessary: without them the output depends on the process.
    #[test]
    fn plain_marshal_depends_on_the_process() {
        let directory = tempfile::tempdir().unwrap();
        write_sources(directory.path());
        let plain = [
            ("marshal.dumps(normalize(code, referenced))", "marshal.dumps(code)"),
            ("sys.intern(chr(number))", "pass"),
        ];
        let (one, _) = compile(directory.path(), "", &plain, 1);
        assert!(compile(directory.path(), INTERNED, &plain, 1).0 != one);
    }

    #[test]
    fn python_finds_and_runs_the_bytecode() {
        let directory = tempfile::tempdir().unwrap();
        write_sources(directory.path());
        let app = directory.path().join("apps/x");
        let (pycs, _) = compile(directory.path(), "", &[], 1);
        let run = |code: &str| {
            let output =
                Command::new("/usr/bin/python3").args(["-B", "-c", code]).current_dir(&app).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let cached = run("import importlib.util as u; print(u.cache_from_source('a.py'))");
        let cached = app.join(cached.trim());
        fs::create_dir_all(cached.parent().unwrap()).unwrap();
        fs::write(cached, &pycs["apps/x/a"]).unwrap();
        // Unchecked: Python does not read the source.
        fs::write(app.join("a.py"), "raise SystemExit('compiled again')").unwrap();
        let output = run("import a; print(a.outer('abc')[0].Meta.name, a.outer.__code__.co_filename)");
        assert_eq!(output, format!("a b {}\n", app.join("a.py").display()));
    }

    /// A full disk must not change the image.
    #[test]
    fn a_failed_write_ends_the_compilation() {
        let directory = tempfile::tempdir().unwrap();
        write_sources(directory.path());
        fs::write(directory.path().join("apps/x/__pycache__"), "not a directory").unwrap();
        let output = run(directory.path(), "", &[], 2);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = ["__pycache__", "failed to compile: a worker ended"];
        assert!(expected.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
}
