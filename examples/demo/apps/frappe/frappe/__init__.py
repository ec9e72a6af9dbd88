"""A stand-in for the Frappe framework: the functions that bench's command line calls."""

import importlib
from pathlib import Path

__version__ = "15.0.0"


def get_all_apps(sites_path="."):
    """Returns the installed apps: the framework, then the others in the order of sites/apps.txt."""
    listed = (Path(sites_path) / "apps.txt").read_text().split()
    return ["frappe"] + [app for app in listed if app != "frappe"]


def get_app_path(app):
    """Returns the directory of an app's Python package."""
    return Path(importlib.import_module(app).__file__).resolve().parent
