"""A stand-in for the Frappe framework: what bench's command line asks of it."""

import importlib
from pathlib import Path

__version__ = "15.0.0"


def get_all_apps(sites_path="."):
    """The installed apps, in the order of sites/apps.txt, the framework first."""
    listed = (Path(sites_path) / "apps.txt").read_text().split()
    return ["frappe"] + [app for app in listed if app != "frappe"]


def get_app_path(app):
    """The folder of an app's python package."""
    return Path(importlib.import_module(app).__file__).resolve().parent
