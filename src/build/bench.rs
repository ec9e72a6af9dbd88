//! Sources → BuiltTree: runs bench in its sandbox, and normalizes the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use carafe_builder::bench::{Bench5, BenchApp, BuildInputs, Recipe, SandboxAdditions, published_ref};
use carafe_builder::cache::{Scratch, remove_tree};
use carafe_builder::egress::Mode;
use carafe_builder::image_tree::{self, BuiltTree};
use carafe_builder::lock::{Lock, PinnedApp};
use carafe_builder::progress::{Stage, Unit};
use carafe_builder::sandbox::{Isolation, Limits, ProxyHandle, Sandbox, SandboxConfig, usable_memory};
use carafe_builder::secret::Redactor;
use carafe_builder::spec::{Spec, format_bytes};
use miette::{Context as _, IntoDiagnostic, miette};

use super::client_caches::ClientCaches;
use super::egress::{BuildProxy, Traffic};
use super::fetch::{BuildRootfs, Sources};
use super::policy::BuildPolicy;
use crate::context::Context;

/// The share of the memory that node's heap may use. frappe uses the same share of the machine's.
const NODE_HEAP_PERCENT: u64 = 75;

/// This program, even if the file that it was started from is replaced.
const SELF: &str = "/proc/self/exe";

/// The number of builds whose logs are kept.
const MAX_KEPT_LOGS: usize = 20;

/// Builds the bench of the lock.
pub fn build(
    spec: &Spec,
    lock: &Lock,
    sources: &Sources,
    mode: Mode,
    scratch: &Scratch,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(BuiltTree, Option<Traffic>)> {
    check_tools(lock, &sources.build_rootfs, policy.isolation, context)?;
    let memory = spec.memory.map(|size| size.0);
    let heap = memory.unwrap_or(u64::MAX).min(usable_memory()) / 100 * NODE_HEAP_PERCENT;
    let downloads = ClientCaches::open(&mode, scratch, policy, context)?;
    let inputs = BuildInputs {
        lock,
        apps: publish(&sources.apps, scratch, context)?,
        limits: Limits { wall_clock: spec.timeout, memory },
        node_heap_mib: heap >> 20,
        downloads: downloads.path().map(Path::to_owned),
        logs: logs(context)?,
    };
    let mut additions = Bench5.sandbox_additions(&inputs)?;
    additions.env.extend(lock.env.clone());
    let proxy = BuildProxy::open(spec, lock, mode, policy, context)?;
    let root = &sources.build_rootfs;
    let sandbox = open(root, additions, spec.redactor(), proxy.handle(), scratch, policy.isolation, context)?;
    let task = context.progress.task(Stage::Build, "bench", None, Unit::Items);
    let built = Bench5.build(&inputs, &sandbox, &task).map_err(|error| proxy.explain(error, context))?;
    let scripts = scratch.path().join("scripts");
    let tree = image_tree::finish(&built.directory, lock, &scripts)?;
    let peak = built.peak_memory.max(Bench5.compile(&inputs, &sandbox, &task)?);
    drop(sandbox);
    let traffic = proxy.close(context)?;
    if let Some(traffic) = &traffic {
        downloads.store(&traffic.recording, policy, context)?;
    }
    let requests = traffic.as_ref().map(|traffic| format!(", {traffic}")).unwrap_or_default();
    task.finish(format!("{} apps, peak memory {}{requests}", lock.apps.len(), format_bytes(peak)));
    Ok((tree, traffic))
}

/// The versions of the tools in the rootfs of a build image.
pub fn probe_tools(
    root: &BuildRootfs,
    isolation: Isolation,
    context: &Context,
) -> miette::Result<BTreeMap<String, String>> {
    let scratch = context.cache.scratch()?;
    let additions = SandboxAdditions { binds: Vec::new(), files: Vec::new(), env: BTreeMap::new() };
    let sandbox = open(root, additions, Redactor::default(), None, &scratch, isolation, context)?;
    Ok(Bench5.probe_tools(&sandbox, &scratch.path().join("tools.log"))?)
}

/// Without a sandbox the tools are this machine's, and no digest pins them.
fn check_tools(
    lock: &Lock,
    root: &BuildRootfs,
    isolation: Isolation,
    context: &Context,
) -> miette::Result<()> {
    if isolation.uses_build_image() {
        return Ok(());
    }
    let found = probe_tools(root, isolation, context)?;
    let names: BTreeSet<_> = lock.tools.keys().chain(found.keys()).collect();
    let differs = |name: &&String| lock.tools.get(*name) != found.get(*name);
    let Some(name) = names.into_iter().find(differs) else { return Ok(()) };
    let version = |tools: &BTreeMap<String, String>| tools.get(name).cloned().unwrap_or("none".to_owned());
    Err(miette!(
        help = "build on the machine that created the lock, or without `--isolation=none`, or run `carafe lock` here",
        "this machine has {name} {}, but the lock has {}",
        version(&found),
        version(&lock.tools)
    ))
}

fn open(
    root: &BuildRootfs,
    additions: SandboxAdditions,
    redactor: Redactor,
    proxy: Option<Arc<dyn ProxyHandle>>,
    scratch: &Scratch,
    isolation: Isolation,
    context: &Context,
) -> miette::Result<Sandbox> {
    let directory = scratch.path().join("sandbox");
    create(&directory)?;
    let mut env: BTreeMap<String, String> = root.env.iter().cloned().collect();
    env.extend(additions.env);
    Ok(Sandbox::open(SandboxConfig {
        isolation,
        root: root.path.clone(),
        scratch: directory,
        binds: additions.binds,
        files: additions.files,
        env,
        proxy,
        redactor,
        launcher: SELF.into(),
        cancel: context.cancel.clone(),
    })?)
}

/// Creates a repository for each app that has its pinned commit as the branch or tag that bench clones.
fn publish(apps: &[PinnedApp], scratch: &Scratch, context: &Context) -> miette::Result<Vec<BenchApp>> {
    let directory = scratch.path().join("repositories");
    create(&directory)?;
    let publish = |app: &PinnedApp| {
        let repository = directory.join(format!("{}.git", app.locked.name));
        let (kind, name) = published_ref(&app.locked);
        context.commits.publish_as(&app.checkout, &repository, &name, kind)?;
        Ok(BenchApp { locked: app.locked.clone(), repository })
    };
    apps.iter().map(publish).collect()
}

/// Creates a directory for this build's logs, and removes all but the newest of earlier builds.
fn logs(context: &Context) -> miette::Result<PathBuf> {
    let bucket = context.cache.bucket("logs", 1)?;
    let mut old: Vec<PathBuf> =
        fs::read_dir(bucket.path()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    old.sort();
    for directory in old.iter().rev().skip(MAX_KEPT_LOGS) {
        // A log that cannot be removed does not affect the build.
        let _ = remove_tree(directory);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let directory = bucket.path().join(format!("{:012}-{}", now.as_secs(), std::process::id()));
    create(&directory)?;
    Ok(directory)
}

fn create(directory: &Path) -> miette::Result<()> {
    fs::create_dir_all(directory)
        .into_diagnostic()
        .wrap_err_with(|| format!("failed to create `{}`", directory.display()))
}
