"""`bench build`: links the apps' public directories, then runs esbuild through yarn."""

import os
import subprocess
import sys
from pathlib import Path

import frappe

# The share of the machine's memory that node may use. As in the real framework,
# this is the memory of the host, not the limit of the cgroup.
NODE_HEAP_SHARE = 0.75


def build_assets(apps=None, production=False):
    """Builds the assets of `apps` (default: all). The current directory is sites/."""
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
    """Links sites/assets/<app> to the app's public directory, with absolute paths."""
    for directory in ("js", "css"):
        (assets / directory).mkdir(parents=True, exist_ok=True)
    for app in frappe.get_all_apps():
        package = frappe.get_app_path(app)
        if (public := package / "public").is_dir():
            relink(assets / app, public)
            if (modules := package.parent / "node_modules").is_dir():
                relink(public / "node_modules", modules)


def relink(link, target):
    link.unlink(missing_ok=True)
    link.symlink_to(target)
