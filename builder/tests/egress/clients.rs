//! Real clients: recorded, then replayed without the server.

use std::path::Path;
use std::process::Command;

use carafe_builder::egress::{Recording, Upstream};
use carafe_layers::digest::Digest;

use crate::support::{Action, ReceivedRequest, ScriptedServer, TestProxy, respond, upstream};

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

/// A bare repository that is large enough that fetching it takes more than one request.
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

/// A git host: git's CGI program behind a scripted server.
fn host(directory: &Path) -> ScriptedServer {
    let directory = directory.to_owned();
    ScriptedServer::tls(move |request: &ReceivedRequest| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let body = directory.join(format!("request-{}-{}", request.earlier, Digest::of(&request.body).hex()));
        std::fs::write(&body, &request.body).unwrap();
        let mut cgi = Command::new("git");
        cgi.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).arg("http-backend");
        cgi.env("GIT_PROJECT_ROOT", &directory).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", path);
        cgi.env("QUERY_STRING", query).env("REQUEST_METHOD", &request.method);
        cgi.env("CONTENT_LENGTH", request.body.len().to_string());
        for (variable, header) in [
            ("CONTENT_TYPE", "content-type"),
            ("HTTP_CONTENT_ENCODING", "content-encoding"),
            ("GIT_PROTOCOL", "git-protocol"),
        ] {
            cgi.env(variable, request.header(header).unwrap_or_default());
        }
        let output = cgi.stdin(std::fs::File::open(body).unwrap()).output().unwrap().stdout;
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(output[..end].to_vec()).unwrap();
        let content_type =
            head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap_or_default();
        respond(200, &[("Content-Type", content_type)], &output[end + 4..])
    })
}

/// Clones a repository, fetches one commit into another, and the rest of the history into the clone.
fn clone(proxy: &TestProxy, url: &str, commit: &str) {
    let run = |args: &[&str]| {
        let output = proxy.run("git", args);
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["clone", "--quiet", "--depth=50", url, "cloned"]);
    assert_eq!(run(&["-C", "cloned", "rev-parse", "HEAD"]), commit);
    assert_eq!(std::fs::read(proxy.path("cloned/file-59")).unwrap(), "59\n".repeat(200).as_bytes());
    run(&["init", "--quiet", "fetched"]);
    run(&["-C", "fetched", "fetch", "--quiet", "--depth=1", url, commit]);
    run(&["-C", "fetched", "checkout", "--quiet", "FETCH_HEAD"]);
    assert!(proxy.path("fetched/file-0").is_file());
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
    let proxy = TestProxy::recording(cache.path(), upstream());
    clone(&proxy, &url, &commit);
    let recording = proxy.close().complete().unwrap();
    let gzipped = |(request, _): &(&carafe_builder::egress::RecordedRequest, _)| {
        request.headers.get("content-encoding").is_some_and(|coding| coding == "gzip")
    };
    assert!(recording.entries().any(|entry| gzipped(&entry)), "no request was compressed");
    let sent = host.requests().len();
    let replayer = TestProxy::replaying(cache.path(), offline(), &recording);
    clone(&replayer, &url, &commit);
    assert_eq!(replayer.close().blocked, []);
    assert_eq!(host.requests().len(), sent);
}

#[test]
fn curl_sends_many_requests_over_http_2() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::tls(|request| respond(200, &[], request.path.repeat(10_000).as_bytes()));
    let fetch = |proxy: &TestProxy| {
        let mut args = vec!["--http2".to_owned(), "--parallel".to_owned(), "--no-progress-meter".to_owned()];
        args.extend([
            "--write-out".to_owned(),
            "%{http_version} %{http_code} %{size_download}\\n".to_owned(),
        ]);
        for number in 0..50 {
            let file = proxy.path(&format!("file-{number}"));
            args.extend([
                server.url(&format!("/{number}")),
                "--output".to_owned(),
                file.display().to_string(),
            ]);
        }
        let output = proxy.command("curl").args(&args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("2 200 ")).count(), 50, "{text}");
        for number in 0..50 {
            let body = std::fs::read(proxy.path(&format!("file-{number}"))).unwrap();
            assert_eq!(body, format!("/{number}").repeat(10_000).as_bytes());
        }
    };
    let proxy = TestProxy::recording(cache.path(), upstream());
    fetch(&proxy);
    let recording: Recording = proxy.close().complete().unwrap();
    fetch(&TestProxy::replaying(cache.path(), offline(), &recording));
    assert_eq!(server.requests().len(), 50);
}

#[test]
fn many_connections_carry_many_requests_each() {
    let cache = tempfile::tempdir().unwrap();
    let server = ScriptedServer::new(|request| {
        let mut actions = respond(200, &[], request.path.as_bytes());
        actions.insert(0, Action::Pause(std::time::Duration::from_millis(1)));
        actions
    });
    let proxy = TestProxy::recording(cache.path(), upstream());
    let opened = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|client| {
                let (proxy, server) = (&proxy, &server);
                scope.spawn(move || {
                    let range = format!("/{client}/[1-25]");
                    let args = ["--no-progress-meter", "--fail", "--write-out", "%{num_connects} "];
                    let output = proxy.command("curl").args(args).arg(server.url(&range)).output().unwrap();
                    assert!(output.status.success());
                    // curl writes each path, and the number of connections that it opened for it.
                    let text = String::from_utf8(output.stdout).unwrap();
                    text.split(' ').filter(|word| word.ends_with("1")).count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    assert!(opened > 0);
    assert_eq!(proxy.close().complete().unwrap().entries().len(), 400);
    assert_eq!(server.requests().len(), 400);
}
