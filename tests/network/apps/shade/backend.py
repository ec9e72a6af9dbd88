"""Builds this package's wheel (PEP 517), with the standard library only."""

import pathlib
import zipfile

FILES = {
    "shade-1.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shade\nVersion: 1.0.0\n",
    "shade-1.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "shade-1.0.0.dist-info/RECORD": "",
}


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    source = pathlib.Path(__file__).parent / "shade/__init__.py"
    name = "shade-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as out:
        for path, text in {"shade/__init__.py": source.read_text(), **FILES}.items():
            out.writestr(path, text)
    return name
