//! Real clients, recorded and then replayed with the server gone.

use std::path::Path;
use std::process::Command;

use carafe_builder::egress::{Recording, Upstream};
use carafe_layers::digest::Digest;

use crate::support::{Act, Asked, Inside, Standin, answer, upstream};

fn offline() -> Upstream {
    Upstream { offline: true, ..upstream() }
}

fn git(directory: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", directory)
        .args(["-c", "user.name=me", "-c", "user.email=me@example.org"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bare repository with enough in it that a fetch of it takes more than one question.
fn repository(directory: &Path) -> String {
    git(directory, &["init", "--quiet", "--initial-branch=main", "work"]);
    let work = directory.join("work");
    for number in 0..60 {
        std::fs::write(work.join(format!("file-{number}")), format!("{number}\n").repeat(200)).unwrap();
        git(&work, &["add", "--all"]);
        git(&work, &["commit", "--quiet", "--message", &number.to_string()]);
    }
    git(directory, &["clone", "--quiet", "--bare", "work", "app.git"]);
    git(&directory.join("app.git"), &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(&work, &["rev-parse", "HEAD"])
}

/// git's own CGI behind a scripted server: a stand-in for a git host.
fn host(directory: &Path) -> Standin {
    let directory = directory.to_owned();
    Standin::tls(move |asked: &Asked| {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let body = directory.join(format!("question-{}-{}", asked.before, Digest::of(&asked.body).hex()));
        std::fs::write(&body, &asked.body).unwrap();
        let mut cgi = Command::new("git");
        cgi.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).arg("http-backend");
        cgi.env("GIT_PROJECT_ROOT", &directory).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", path);
        cgi.env("QUERY_STRING", query).env("REQUEST_METHOD", &asked.method);
        cgi.env("CONTENT_LENGTH", asked.body.len().to_string());
        for (variable, header) in [
            ("CONTENT_TYPE", "content-type"),
            ("HTTP_CONTENT_ENCODING", "content-encoding"),
            ("GIT_PROTOCOL", "git-protocol"),
        ] {
            cgi.env(variable, asked.header(header).unwrap_or_default());
        }
        let output = cgi.stdin(std::fs::File::open(body).unwrap()).output().unwrap().stdout;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(output[..end].to_vec()).unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or_default();
        answer(200, &[("Content-Type", kind)], &output[end + 4..])
    })
}

/// Clones, and fetches one commit into a repository that has a part of it already.
fn clone(inside: &Inside, url: &str, commit: &str) {
    let run = |args: &[&str]| {
        let output = inside.run("git", args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["clone", "--quiet", "--depth=50", url, "cloned"]);
    assert_eq!(run(&["-C", "cloned", "rev-parse", "HEAD"]), commit);
    assert_eq!(std::fs::read(inside.path("cloned/file-59")).unwrap(), "59\n".repeat(200).as_bytes());
    run(&["init", "--quiet", "fetched"]);
    run(&["-C", "fetched", "fetch", "--quiet", "--depth=1", url, commit]);
    run(&["-C", "fetched", "checkout", "--quiet", "FETCH_HEAD"]);
    assert!(inside.path("fetched/file-0").is_file());
    run(&["-C", "cloned", "fetch", "--quiet", "--unshallow"]);
    assert_eq!(run(&["-C", "cloned", "rev-list", "--count", "HEAD"]), "60");
}

#[test]
fn git_clones_and_fetches_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let commit = repository(directory.path());
    let host = host(directory.path());
    let url = host.url("/app.git");
    let cache = tempfile::tempdir().unwrap();
    let inside = Inside::recording(cache.path(), upstream());
    clone(&inside, &url, &commit);
    let record = inside.close().complete().unwrap();
    let gzipped = |(request, _): &(&carafe_builder::egress::Request, _)| {
        request.headers.get("content-encoding").is_some_and(|coding| coding == "gzip")
    };
    assert!(record.entries().any(|entry| gzipped(&entry)), "no question was compressed");
    let asked = host.asked().len();
    let replaying = Inside::replaying(cache.path(), offline(), &record);
    clone(&replaying, &url, &commit);
    assert_eq!(replaying.close().refusals, []);
    assert_eq!(host.asked().len(), asked);
}

#[test]
fn curl_speaks_http_2_with_many_at_once() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::tls(|asked| answer(200, &[], asked.path.repeat(10_000).as_bytes()));
    let fetch = |inside: &Inside| {
        let mut args = vec!["--http2".to_owned(), "--parallel".to_owned(), "--no-progress-meter".to_owned()];
        args.extend([
            "--write-out".to_owned(),
            "%{http_version} %{http_code} %{size_download}\\n".to_owned(),
        ]);
        for number in 0..50 {
            let file = inside.path(&format!("file-{number}"));
            args.extend([
                standin.url(&format!("/{number}")),
                "--output".to_owned(),
                file.display().to_string(),
            ]);
        }
        let output = inside.command("curl").args(&args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("2 200 ")).count(), 50, "{text}");
        for number in 0..50 {
            let body = std::fs::read(inside.path(&format!("file-{number}"))).unwrap();
            assert_eq!(body, format!("/{number}").repeat(10_000).as_bytes());
        }
    };
    let inside = Inside::recording(cache.path(), upstream());
    fetch(&inside);
    let record: Recording = inside.close().complete().unwrap();
    fetch(&Inside::replaying(cache.path(), offline(), &record));
    assert_eq!(standin.asked().len(), 50);
}

#[test]
fn one_connection_carries_hundreds_of_requests_beside_many_others() {
    let cache = tempfile::tempdir().unwrap();
    let standin = Standin::new(|asked| {
        let mut acts = answer(200, &[], asked.path.as_bytes());
        acts.insert(0, Act::Pause(std::time::Duration::from_millis(1)));
        acts
    });
    let inside = Inside::recording(cache.path(), upstream());
    let opened = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|client| {
                let (inside, standin) = (&inside, &standin);
                scope.spawn(move || {
                    let range = format!("/{client}/[1-25]");
                    let args = ["--no-progress-meter", "--fail", "--write-out", "%{num_connects} "];
                    let output = inside.command("curl").args(args).arg(standin.url(&range)).output().unwrap();
                    assert!(output.status.success());
                    // What curl wrote: each path, and how many connections it had to open for it.
                    let text = String::from_utf8(output.stdout).unwrap();
                    text.split(' ').filter(|word| word.ends_with("1")).count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    assert!(opened > 0);
    assert_eq!(inside.close().complete().unwrap().entries().len(), 400);
    assert_eq!(standin.asked().len(), 400);
}
