"""The web application: pages that load every asset, and the assets.

gunicorn runs `frappe.app:application` in sites/.
"""

import html
import json
import mimetypes
import os
from pathlib import Path

import frappe

SITES = Path.cwd()
PAGES = {"/": "Home", "/login": "Login"}


def application(environ, start_response):
    path = environ.get("PATH_INFO", "/")
    if path in PAGES:
        return respond(start_response, "200 OK", "text/html; charset=utf-8", page(PAGES[path]))
    if path == "/api/method/ping":
        return respond(start_response, "200 OK", "application/json", b'{"message":"pong"}')
    if path.startswith("/assets/") and (file := asset_file(path)):
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return respond(start_response, "200 OK", kind, file.read_bytes())
    return respond(start_response, "404 Not Found", "text/plain", b"not found\n")


def respond(start_response, status, kind, body):
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def asset_file(path):
    """Returns the file of an asset's URL path, or None if there is none in the assets."""
    # PATH_INFO is decoded as Latin-1 (PEP 3333); file names are UTF-8.
    name = os.path.normpath(path.encode("latin-1").decode("utf-8", "replace"))
    file = SITES / name.lstrip("/")
    return file if name.startswith("/assets/") and file.is_file() else None


def page(title):
    """Returns an HTML page that loads all bundles. Its build version is the mtime of assets.json."""
    assets = SITES / "assets"
    bundles = read_json(assets / "assets.json")
    rtl = read_json(assets / "assets-rtl.json")
    version = int((assets / "assets.json").stat().st_mtime)
    lines = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f'<meta name="build-version" content="{version}">',
        *(tag(url) for url in [*bundles.values(), *rtl.values()]),
        f"</head><body><h1>{html.escape(title)}</h1><ul>",
        *(f"<li>{html.escape(app)}</li>" for app in frappe.get_all_apps(SITES)),
        "</ul></body></html>",
    ]
    return "\n".join(lines).encode()


def tag(url):
    url = html.escape(url)
    if url.endswith(".css"):
        return f'<link rel="stylesheet" href="{url}">'
    return f'<script defer src="{url}"></script>'


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}
