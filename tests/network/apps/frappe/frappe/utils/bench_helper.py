"""The commands of Frappe that bench runs in sites/: only `build`."""

import json
import pathlib
import subprocess
import sys

import lantern
import shade

SHOW = "console.log(require('wick') + ' ' + require('wax'))"


def build():
    frappe = pathlib.Path(__file__).parents[2]
    shown = subprocess.run(["node", "-e", SHOW], cwd=frappe, capture_output=True, text=True, check=True)
    lit = f"lantern {lantern.VERSION}, shade {shade.VERSION}, wick and wax {shown.stdout.strip()}"
    assets = pathlib.Path("assets")
    (assets / "js").mkdir(parents=True, exist_ok=True)
    (assets / "js/lit.bundle.js").write_text(f"// {lit}\n")
    (assets / "assets.json").write_text(json.dumps({"lit.bundle.js": "/assets/js/lit.bundle.js"}))
    print(lit)


if "get-frappe-commands" in sys.argv:
    print(json.dumps(["build"]))
elif "build" in sys.argv:
    build()
