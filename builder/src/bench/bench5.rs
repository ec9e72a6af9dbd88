//! The recipe for bench 5, unmodified: `bench init`, then `bench build`, then compiling Python.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use super::diagnose::Diagnosis;
use super::error::BenchError;
use super::paths::{BENCH_DIR, HOME_DIR};
use super::recipe::{BuildInputs, BuiltBench, Recipe, SandboxAdditions};
use super::redirect::{Redirect, apps_json, git_config, redirects};
use super::{compile, environment, tools};
use crate::app::is_package_name;
use crate::normalize::{self, BenchTree};
use crate::progress::Task;
use crate::sandbox::{Bind, ExitReason, InjectedFile, Limits, Network, Sandbox, SandboxError, Step};

/// The limits of the step that looks for tools.
const PROBE_LIMITS: Limits = Limits { wall_clock: std::time::Duration::from_secs(120), memory: None };

/// Runs `bench init` with each app's URL redirected to a local repository, then `bench build` without
/// network.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bench5;

impl Recipe for Bench5 {
    fn sandbox_additions(&self, inputs: &BuildInputs<'_>) -> Result<SandboxAdditions, BenchError> {
        let redirects = checked_redirects(inputs)?;
        let repositories = redirects.iter().zip(&inputs.apps);
        let mut binds: Vec<Bind> =
            repositories.map(|(redirect, app)| bind(&app.repository, redirect.repository(), false)).collect();
        binds
            .extend(inputs.downloads.iter().map(|directory| bind(directory, environment::downloads(), true)));
        let files = [
            (environment::git_config(), git_config(&redirects), 0o644),
            (environment::apps_json(), apps_json(&redirects), 0o644),
            (environment::yarn_shell(), environment::yarn_shell_script(inputs.node_heap_mib), 0o755),
        ];
        let files = files.map(|(path, content, mode)| InjectedFile {
            path: path.into(),
            content: content.into_bytes(),
            mode,
        });
        let epoch = inputs.lock.source_date_epoch;
        let env = environment::variables(epoch, inputs.node_heap_mib, inputs.downloads.is_some());
        Ok(SandboxAdditions { binds, files: files.into(), env })
    }

    fn build(
        &self,
        inputs: &BuildInputs<'_>,
        sandbox: &Sandbox,
        task: &Task,
    ) -> Result<BuiltBench, BenchError> {
        let redirects = checked_redirects(inputs)?;
        let bench = sandbox.host_path(Path::new(BENCH_DIR));
        if std::fs::symlink_metadata(&bench).is_ok() {
            return Err(BenchError::BenchExists { directory: bench });
        }
        let init_peak = run(
            inputs,
            sandbox,
            task,
            "bench init",
            init_command(&redirects),
            HOME_DIR,
            Network::EgressProxy,
        )?;
        let bench = bench_directory(sandbox)?;
        check_apps(&bench, &redirects)?;
        let tree = BenchTree::new(&bench, inputs.lock.apps.clone());
        normalize::order_apps(&tree)?;
        let build = ["bench", "build", "--production"].map(str::to_owned).to_vec();
        let build_peak = run(inputs, sandbox, task, "bench build", build, BENCH_DIR, Network::None)?;
        let bench = bench_directory(sandbox)?;
        check_assets(&bench)?;
        Ok(BuiltBench { directory: bench, peak_memory: init_peak.max(build_peak) })
    }

    fn compile(&self, inputs: &BuildInputs<'_>, sandbox: &Sandbox, task: &Task) -> Result<u64, BenchError> {
        let workers = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let argv = compile::command(workers);
        let peak = run(inputs, sandbox, task, "compile python", argv, "/", Network::None)?;
        bench_directory(sandbox)?;
        Ok(peak)
    }

    fn probe_tools(&self, sandbox: &Sandbox, log: &Path) -> Result<BTreeMap<String, String>, BenchError> {
        let step = Step {
            name: "probe tools".to_owned(),
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), tools::script()],
            cwd: "/".into(),
            env: BTreeMap::new(),
            network: Network::None,
            limits: PROBE_LIMITS,
            log: log.to_owned(),
        };
        let mut lines = Vec::new();
        sandbox.run(&step, &mut |line| lines.push(line.to_owned()))?;
        let (found, missing) = tools::parse(lines.iter().map(String::as_str));
        if missing.is_empty() {
            Ok(found)
        } else {
            Err(BenchError::ToolsMissing { tools: missing.join(", ") })
        }
    }
}

/// The redirects of the apps, whose names are checked: anyone can edit a lock.
fn checked_redirects(inputs: &BuildInputs<'_>) -> Result<Vec<Redirect>, BenchError> {
    let names = || inputs.apps.iter().map(|app| app.locked.name.as_str());
    if let Some(name) = names().find(|name| !is_package_name(name)) {
        return Err(BenchError::AppName { name: carafe_layers::text::escape_bytes(name.as_bytes()) });
    }
    if names().next() != Some("frappe") {
        return Err(BenchError::FrappeNotFirst);
    }
    Ok(redirects(inputs.apps.iter().map(|app| &app.locked)))
}

fn bind(source: &Path, target: String, writable: bool) -> Bind {
    Bind { source: source.to_owned(), target: target.into(), writable }
}

fn init_command(redirects: &[Redirect]) -> Vec<String> {
    let frappe = &redirects[0];
    let mut argv = vec!["bench".to_owned(), "init".to_owned()];
    if redirects.len() > 1 {
        argv.extend(["--apps_path".to_owned(), environment::apps_json()]);
    }
    argv.extend(["--frappe-path", &frappe.url, "--frappe-branch", &frappe.branch].map(str::to_owned));
    let rest = [
        "--no-procfile",
        "--no-backups",
        "--skip-redis-config-generation",
        "--skip-assets",
        "--verbose",
        BENCH_DIR,
    ];
    argv.extend(rest.map(str::to_owned));
    argv
}

/// Runs a step. Returns its peak memory use in bytes.
fn run(
    inputs: &BuildInputs<'_>,
    sandbox: &Sandbox,
    task: &Task,
    name: &str,
    argv: Vec<String>,
    cwd: &str,
    network: Network,
) -> Result<u64, BenchError> {
    let log = inputs.logs.join(format!("{}.log", name.replace(' ', "-")));
    let step = Step {
        name: name.to_owned(),
        argv,
        cwd: cwd.into(),
        env: BTreeMap::new(),
        network,
        limits: inputs.limits,
        log: log.clone(),
    };
    let mut diagnosis = Diagnosis::new(network);
    let ran = sandbox.run(&step, &mut |line| {
        if !is_verbose(line) {
            diagnosis.observe(line);
            task.output(line);
        }
    });
    ran.map(|outcome| outcome.peak_memory).map_err(|error| explain(error, &diagnosis, &log))
}

/// bench runs yarn with `--verbose`, which prints each of the thousands of files that it copies. They
/// are only in the log.
fn is_verbose(line: &str) -> bool {
    line.starts_with("verbose ")
}

/// Adds the cause that the output shows to an exit status.
fn explain(mut error: SandboxError, diagnosis: &Diagnosis, log: &Path) -> BenchError {
    if let SandboxError::Step(step) = &mut error {
        step.tail.retain(|line| !is_verbose(line));
    }
    let exited = matches!(&error, SandboxError::Step(step) if matches!(step.reason, ExitReason::Exit(_)));
    match diagnosis.help() {
        Some(help) if exited => {
            let help = format!("{help}; the complete log is in `{}`", log.display());
            BenchError::Known { source: error, help }
        }
        _ => BenchError::Sandbox(error),
    }
}

/// The bench directory on this machine. It and its parents must be real directories: if a build script
/// replaced one by a link, Carafe would change and pack the link's target on this machine.
fn bench_directory(sandbox: &Sandbox) -> Result<PathBuf, BenchError> {
    let bench = sandbox.host_path(Path::new(BENCH_DIR));
    // Without private files a link gives access to nothing new, and /home may be one.
    let has_private_files = sandbox.isolation().has_private_files();
    let directories = Path::new(BENCH_DIR).ancestors().take_while(|directory| directory.parent().is_some());
    let depth = if has_private_files { usize::MAX } else { 1 };
    match directories.take(depth).find(|directory| !is_directory(&sandbox.host_path(directory))) {
        Some(directory) => Err(BenchError::NoBench { directory: directory.to_owned() }),
        None => Ok(bench),
    }
}

/// bench prints nothing and exits with 0 if the bench directory already existed.
fn check_apps(bench: &Path, redirects: &[Redirect]) -> Result<(), BenchError> {
    let directory = |app: &Redirect| bench.join("apps").join(&app.name);
    match redirects.iter().find(|app| !is_directory(&directory(app))) {
        Some(app) => Err(BenchError::AppNotInstalled { name: app.name.clone() }),
        None => Ok(()),
    }
}

fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Some versions of frappe print an error and exit with 0.
fn check_assets(bench: &Path) -> Result<(), BenchError> {
    if bench.join("sites/assets/assets.json").is_file() { Ok(()) } else { Err(BenchError::NoAssets) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::recipe::BenchApp;
    use crate::lock::tests::sample;
    use crate::sandbox::{CancelToken, Isolation, SandboxConfig};
    use crate::secret::Redactor;

    fn additions(names: [&str; 2]) -> Result<SandboxAdditions, BenchError> {
        let mut lock = sample();
        for (app, name) in lock.apps.iter_mut().zip(names) {
            app.name = name.to_owned();
        }
        let apps = lock.apps.iter().map(|app| BenchApp {
            locked: app.clone(),
            repository: format!("/host/{}.git", app.name).into(),
        });
        let inputs = BuildInputs {
            apps: apps.collect(),
            lock: &lock,
            limits: PROBE_LIMITS,
            node_heap_mib: 1500,
            downloads: Some("/host/downloads".into()),
            logs: "/host/logs".into(),
        };
        Bench5.sandbox_additions(&inputs)
    }

    #[test]
    fn repositories_and_downloads_are_mounted() {
        let additions = additions(["frappe", "local"]).unwrap();
        let binds: Vec<_> = additions
            .binds
            .iter()
            .map(|bind| format!("{} {} {}", bind.source.display(), bind.target.display(), bind.writable))
            .collect();
        assert_eq!(
            binds,
            [
                "/host/frappe.git /home/frappe/.carafe/apps/frappe.git false",
                "/host/local.git /home/frappe/.carafe/apps/local.git false",
                "/host/downloads /home/frappe/.carafe/downloads true",
            ]
        );
        let config =
            additions.files.iter().find(|file| file.path == Path::new(&additions.env["GIT_CONFIG_GLOBAL"]));
        assert!(config.is_some());
    }

    #[test]
    fn rejects_an_edited_lock() {
        assert!(matches!(additions(["frappe", "../x"]), Err(BenchError::AppName { .. })));
        assert!(matches!(additions(["frappe", "--help"]), Err(BenchError::AppName { .. })));
        assert!(matches!(additions(["local", "frappe"]), Err(BenchError::FrappeNotFirst)));
    }

    #[test]
    fn rejects_a_bench_directory_that_is_a_link() {
        let (scratch, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sandbox = Sandbox::open(SandboxConfig {
            isolation: Isolation::Namespaces,
            root: "/".into(),
            scratch: scratch.path().to_owned(),
            binds: Vec::new(),
            files: Vec::new(),
            env: BTreeMap::new(),
            proxy: None,
            redactor: Redactor::default(),
            launcher: "/proc/self/exe".into(),
            cancel: CancelToken::default(),
        })
        .unwrap();
        assert!(matches!(bench_directory(&sandbox), Err(BenchError::NoBench { .. })));
        let (home, bench) = (sandbox.host_path(Path::new(HOME_DIR)), sandbox.host_path(Path::new(BENCH_DIR)));
        std::fs::create_dir_all(&bench).unwrap();
        assert_eq!(bench_directory(&sandbox).unwrap(), bench);

        std::fs::remove_dir(&bench).unwrap();
        std::os::unix::fs::symlink(outside.path(), &bench).unwrap();
        let error = bench_directory(&sandbox).unwrap_err().to_string();
        assert!(error.contains("`/home/frappe/frappe-bench` in the sandbox"), "{error}");

        std::fs::create_dir(outside.path().join("frappe-bench")).unwrap();
        std::fs::remove_dir_all(&home).unwrap();
        std::os::unix::fs::symlink(outside.path(), &home).unwrap();
        let error = bench_directory(&sandbox).unwrap_err().to_string();
        assert!(error.contains("`/home/frappe` in the sandbox"), "{error}");
    }

    #[test]
    fn the_command_line_of_bench_init() {
        let lock = sample();
        let redirects = redirects(lock.apps.iter());
        assert_eq!(
            init_command(&redirects).join(" "),
            "bench init --apps_path /home/frappe/.carafe/apps.json \
             --frappe-path https://github.com/frappe/frappe.git --frappe-branch v15.55.1 \
             --no-procfile --no-backups --skip-redis-config-generation --skip-assets --verbose \
             /home/frappe/frappe-bench"
        );
        assert!(!init_command(&redirects[..1]).contains(&"--apps_path".to_owned()));
    }
}
