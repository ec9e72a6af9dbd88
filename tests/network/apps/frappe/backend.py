"""Installs this app as an editable package (PEP 660), and examines its environment: it writes what it
finds into the image, where the tests search for it."""

import base64
import hashlib
import json
import os
import pathlib
import socket
import urllib.error
import urllib.request
import zipfile

METADATA = """Metadata-Version: 2.1
Name: frappe
Version: 15.0.0
Requires-Python: >=3.10
Requires-Dist: lantern>=1
Requires-Dist: shade @ git+https://git.carafe.test/crew/shade.git@v1
"""


def examine():
    """The environment variables, the date, and the reachable hosts of a build script."""
    # uv builds in directories with random names.
    environment = {name: text for name, text in sorted(os.environ.items()) if "builds-v0" not in text}
    seen = {"environment": environment}
    with urllib.request.urlopen("https://pypi.org/simple/wheel/") as response:
        seen["date"] = response.headers["Date"]
    try:
        urllib.request.urlopen("https://optional.carafe.test/pyproject.toml")
        seen["optional"] = "there"
    except urllib.error.HTTPError as error:
        seen["optional"] = error.code
    try:
        socket.getaddrinfo("telemetry.carafe.test", 443)
        seen["telemetry"] = "found"
    except OSError as error:
        seen["telemetry"] = error.strerror
    try:
        socket.create_connection(("192.0.2.7", 443), 60).recv(1)
        seen["beacon"] = "reached"
    except OSError as error:
        seen["beacon"] = error.strerror
    return seen


def get_requires_for_build_editable(config_settings=None):
    return []


def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
    info = pathlib.Path(metadata_directory) / "frappe-15.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    return info.name


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    here = pathlib.Path(__file__).parent
    (here / "frappe/seen.json").write_text(json.dumps(examine(), indent=1))
    files = {
        "frappe.pth": f"{here}\n",
        "frappe-15.0.0.dist-info/METADATA": METADATA,
        "frappe-15.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows += f"{path},sha256={digest},{len(text.encode())}\n"
    files["frappe-15.0.0.dist-info/RECORD"] = rows + "frappe-15.0.0.dist-info/RECORD,,\n"
    name = "frappe-15.0.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as out:
        for path, text in files.items():
            out.writestr(path, text)
    return name
