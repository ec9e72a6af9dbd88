#!/usr/bin/env python3
"""registry.py CARAFE [--pairs N] [--layers N] [--mib N] [--folder DIR]: carafe beside skopeo.

Makes an OCI layout of random layers, and copies it by `carafe copy` and by
`skopeo copy` in turns: into a docker-registry on loopback, out of it, and from
one registry into another. Each run has registries of its own, without anything
in them, and a home of its own, so that neither knows where a blob may be
mounted from. DIR is best on a tmpfs: it takes four times the layers' bytes.

Prints Markdown: for each way the seconds of every run, the median's rate, the
CPU seconds and the peak memory of the program alone, and the machine's load.
"""

import argparse
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REGISTRY = pathlib.Path(__file__).parent.parent / "tests/support/registry"
PREFIX = "application/vnd.oci.image."


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("carafe")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--folder")
    parser.add_argument("--ways", default="push,pull,copy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="carafe-bench.") as folder:
        folder = pathlib.Path(folder)
        size = make_layout(folder / "layout", options.layers, options.mib)
        idle = run(folder, [options.carafe, "inspect", f"oci:{folder}/layout:1"])[2]
        print(f"{options.layers} layers of {options.mib} MiB; peak of `carafe inspect`: {idle} MiB\n")
        print("| way | program | seconds | MB/s | CPU s | peak MiB | load |\n|---|---|---|---|---|---|---|")
        for way in options.ways.split(","):
            runs = {"carafe": [], "skopeo": []}
            for pair in range(options.pairs):
                for program in sorted(runs, reverse=pair % 2 == 1):
                    runs[program].append(measure(folder, way, program, options.carafe))
            for program, figures in runs.items():
                seconds = [figure[0] for figure in figures]
                median = statistics.median(seconds)
                print(f"| {way} | {program} | {' '.join(f'{one:.1f}' for one in seconds)} "
                      f"| {size / median / 1e6:.0f} | {statistics.median(figure[1] for figure in figures):.1f} "
                      f"| {max(figure[2] for figure in figures)} | {os.getloadavg()[0]:.1f} |", flush=True)


def measure(folder, way, program, carafe):
    """One copy: wall seconds, CPU seconds, peak MiB."""
    place = folder / "run"
    place.mkdir()
    count = 2 if way == "copy" else 1
    servers = [Server(place / f"storage-{index}") for index in range(count)]
    images = [f"127.0.0.1:{server.port}/big:1" for server in servers]
    layout, pulled = f"oci:{folder}/layout:1", f"oci:{place}/pulled:1"
    source, target = {"push": (layout, images[0]), "pull": (images[0], pulled), "copy": tuple(images[-2:])}[way]
    try:
        if source == images[0]:
            # By the other program's hands, so that none knows more of it.
            run(place, ["skopeo", "copy", "-q", "--dest-tls-verify=false", layout, f"docker://{source}"])
        if program == "carafe":
            insecure = [word for image in images for word in ("--insecure-registry", image.split("/")[0])]
            return run(place, [carafe, "copy", "-q", source, target, *insecure])
        docker = [name if name.startswith("oci:") else f"docker://{name}" for name in (source, target)]
        return run(place, ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *docker])
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(place)


def run(home, command):
    environment = {"PATH": os.environ["PATH"], "HOME": tempfile.mkdtemp(dir=home)}
    begin = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        # Not ru_maxrss: that starts with what this script had when it forked.
        peak = max(peak, high_water_mark(child.pid))
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.005)
    seconds = time.monotonic() - begin
    if status:
        sys.exit(f"error: {command} failed")
    return seconds, usage.ru_utime + usage.ru_stime, peak // 1024


def high_water_mark(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        lines = [line for line in file if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) if lines else 0


class Server:
    def __init__(self, storage):
        self.child = subprocess.Popen([REGISTRY, "--storage", storage], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = self.child.stdout.readline().split()[1].decode()

    def stop(self):
        self.child.stdin.close()
        self.child.wait()


def make_layout(folder, count, mib):
    """Random bytes in stored gzip: nobody compresses them further. Gives the bytes in all."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    for _ in range(count):
        temporary, raw, stored = folder / "layer", hashlib.sha256(), hashlib.sha256()
        with open(temporary, "wb") as file, gzip.GzipFile("", "wb", 0, file, 0) as packed:
            for _ in range(mib):
                piece = os.urandom(1 << 20)
                raw.update(piece)
                packed.write(piece)
        with open(temporary, "rb") as file:
            while piece := file.read(1 << 20):
                stored.update(piece)
        size = temporary.stat().st_size
        temporary.rename(blobs / stored.hexdigest())
        layers.append(descriptor("layer.v1.tar+gzip", stored.hexdigest(), size))
        diff_ids.append("sha256:" + raw.hexdigest())

    def put(kind, document):
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return descriptor(kind, digest, len(data))

    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = put("config.v1+json", {"architecture": "amd64", "os": "linux", "rootfs": rootfs})
    manifest = {"schemaVersion": 2, "mediaType": PREFIX + "manifest.v1+json", "config": config, "layers": layers}
    entry = put("manifest.v1+json", manifest) | {"annotations": {"org.opencontainers.image.ref.name": "1"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return sum(layer["size"] for layer in layers)


def descriptor(kind, digest, size):
    return {"mediaType": PREFIX + kind, "digest": "sha256:" + digest, "size": size}


if __name__ == "__main__":
    main()
