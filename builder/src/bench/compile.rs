//! Compiling a bench's python at the end of a build, for a start from a read-only layer.

use std::num::NonZeroUsize;

use super::BENCH_DIR;

/// Changing what it writes is a format break.
const SCRIPT: &str = include_str!("../../assets/compile.py");

/// The command that compiles all python in env/ and apps/, `node_modules` left out, and says which
/// files it left out. What it writes depends on the sources and on python's version alone, not on
/// the number of workers.
pub(super) fn command(workers: NonZeroUsize) -> Vec<String> {
    let python = format!("{BENCH_DIR}/env/bin/python");
    let directories = ["env", "apps"].map(|directory| format!("{BENCH_DIR}/{directory}"));
    [python].into_iter().chain(arguments(workers)).chain(directories).collect()
}

/// Without site-packages, which an app may have filled with code that runs at start.
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

    /// Names that another file has too, sets, constants that are one object or several.
    const SOURCE: &str = "
def outer(x):
    class Inner:
        class Meta:
            name = 'a b'
    return Inner, 'outer.<locals>.Inner', x in {'a', 'b', 3, 'c d'}, '-', 1e9, (1, ('a b', b'-')), x[1:2]
";

    fn write(root: &Path) {
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

    fn run(root: &Path, before: &str, edits: &[(&str, &str)], workers: usize) -> Output {
        let mut arguments = arguments(NonZeroUsize::new(workers).unwrap());
        let script = arguments.iter_mut().find(|argument| *argument == SCRIPT).unwrap();
        for (from, to) in edits {
            assert!(script.contains(from));
            *script = script.replace(from, to);
        }
        script.insert_str(0, before);
        let mut command = Command::new("/usr/bin/python3");
        command.env("PYTHONHASHSEED", "0").args(&arguments).args(["env", "apps"].map(|name| root.join(name)));
        command.output().unwrap()
    }

    /// Every `.pyc` that compiling made, removed again, and what was said.
    fn compile(root: &Path, before: &str, edits: &[(&str, &str)], workers: usize) -> (Pycs, String) {
        let output = run(root, before, edits, workers);
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

    /// Strings that the sources have too, kept by the process before it compiles.
    const INTERNED: &str = "import sys
kept = [sys.intern(text) for text in ('-', 'a b', 'outer.<locals>.Inner', 'naïve')]
";

    #[test]
    fn only_the_sources_show() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let (pycs, said) = compile(directory.path(), "", &[], 1);
        let names: Vec<_> = pycs.keys().map(String::as_str).collect();
        assert_eq!(names, ["apps/x/a", "apps/x/b", "apps/x/naïve", "env/lib/a"]);
        assert!(pycs.values().all(|pyc| pyc[4..8] == [1, 0, 0, 0]), "unchecked hashes");
        for left_out in ["template.py': SyntaxError", "old.py': SyntaxError", "nul.py': "] {
            assert!(said.contains(left_out), "{said}");
        }

        let reversed: &[_] = &[("paths = sorted(", "paths = (lambda paths: sorted(paths)[::-1])(")];
        let imports = "import json, email.mime, http.client, unittest, argparse, logging, typing\n";
        for (before, edits, workers) in
            [("", &[][..], 2), ("", reversed, 1), (imports, &[], 1), (INTERNED, &[], 3)]
        {
            let again = compile(directory.path(), before, edits, workers).0;
            assert!(again == pycs, "{before} {edits:?} {workers}");
        }
    }

    /// The two traces are real: without what the script does about them, they show.
    #[test]
    fn plain_marshal_shows_the_process() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let plain = [
            ("marshal.dumps(settle(code, held))", "marshal.dumps(code)"),
            ("sys.intern(chr(number))", "pass"),
        ];
        let (one, _) = compile(directory.path(), "", &plain, 1);
        assert!(compile(directory.path(), INTERNED, &plain, 1).0 != one);
    }

    #[test]
    fn python_finds_and_runs_what_was_compiled() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
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
        // Unchecked: another source is not even looked at.
        fs::write(app.join("a.py"), "raise SystemExit('compiled anew')").unwrap();
        let said = run("import a; print(a.outer('abc')[0].Meta.name, a.outer.__code__.co_filename)");
        assert_eq!(said, format!("a b {}\n", app.join("a.py").display()));
    }

    /// A disk that is full must not make another image.
    #[test]
    fn what_cannot_be_written_is_no_file_to_leave_out() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        fs::write(directory.path().join("apps/x/__pycache__"), "in the way").unwrap();
        let output = run(directory.path(), "", &[], 2);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("__pycache__") && said.contains("failed to compile: a worker ended"), "{said}");
    }
}
