"""`bench build`: links the apps' public folders, then runs esbuild through yarn."""

import os
import subprocess
import sys
from pathlib import Path

import frappe

# The share of the machine's memory that node may take, as the real framework
# sets it: of the host's, whatever the cgroup says.
NODE_HEAP_SHARE = 0.75


def build_assets(apps=None, production=False):
    """Builds the assets of `apps` (all of them by default); sites/ is the current folder."""
    link_assets(Path.cwd() / "assets")
    command = ["yarn", "run", "production" if production else "build"]
    if apps:
        command += ["--apps", ",".join(apps)]
    source = frappe.get_app_path("frappe").parent
    done = subprocess.run(command, cwd=source, env=os.environ | node_env(), check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def node_env():
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (1 << 20)
    return {"NODE_OPTIONS": f"--max_old_space_size={max(1024, int(memory * NODE_HEAP_SHARE))}"}


def link_assets(assets):
    """Links sites/assets/<app> to the app's public folder, by absolute paths."""
    for folder in ("js", "css"):
        (assets / folder).mkdir(parents=True, exist_ok=True)
    for app in frappe.get_all_apps():
        package = frappe.get_app_path(app)
        if (public := package / "public").is_dir():
            relink(assets / app, public)
            if (modules := package.parent / "node_modules").is_dir():
                relink(public / "node_modules", modules)


def relink(link, target):
    link.unlink(missing_ok=True)
    link.symlink_to(target)
