#!/usr/bin/python3
"""registry.py CARAFE [--pairs N] [--layers N] [--mib N] [--directory DIR]: compares carafe with skopeo.

Makes an OCI layout of random layers, and copies it with `carafe copy` and with
`skopeo copy` in turns: to a docker-registry on loopback, from it, and from one
registry to another. Each run has new, empty registries and a new home directory,
so that neither program has cached mount candidates. Use a DIR on a tmpfs, with
space for four times the size of the layers.

Prints Markdown: for each direction the seconds of every run, the median rate, the
CPU seconds and the peak memory of the program alone, and the load of the machine.
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
    parser.add_argument("--directory")
    parser.add_argument("--directions", default="push,pull,copy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="carafe-bench.") as directory:
        directory = pathlib.Path(directory)
        size = make_layout(directory / "layout", options.layers, options.mib)
        idle = run(directory, [options.carafe, "inspect", f"oci:{directory}/layout:1"])[2]
        print(f"{options.layers} layers of {options.mib} MiB; peak of `carafe inspect`: {idle} MiB\n")
        print("| direction | program | seconds | MB/s | CPU s | peak MiB | load |\n|---|---|---|---|---|---|---|")
        for direction in options.directions.split(","):
            runs = {"carafe": [], "skopeo": []}
            for pair in range(options.pairs):
                for program in sorted(runs, reverse=pair % 2 == 1):
                    runs[program].append(measure(directory, direction, program, options.carafe))
            for program, figures in runs.items():
                seconds = [figure[0] for figure in figures]
                median = statistics.median(seconds)
                print(f"| {direction} | {program} | {' '.join(f'{one:.1f}' for one in seconds)} "
                      f"| {size / median / 1e6:.0f} | {statistics.median(figure[1] for figure in figures):.1f} "
                      f"| {max(figure[2] for figure in figures)} | {os.getloadavg()[0]:.1f} |", flush=True)


def measure(directory, direction, program, carafe):
    """Runs one copy; returns wall seconds, CPU seconds and peak MiB."""
    work = directory / "run"
    work.mkdir()
    count = 2 if direction == "copy" else 1
    servers = [Server(work / f"storage-{index}") for index in range(count)]
    images = [f"127.0.0.1:{server.port}/big:1" for server in servers]
    layout, pulled = f"oci:{directory}/layout:1", f"oci:{work}/pulled:1"
    source, target = {"push": (layout, images[0]), "pull": (images[0], pulled), "copy": tuple(images[-2:])}[direction]
    try:
        if source == images[0]:
            # skopeo fills the registry for both programs, so that neither has an advantage.
            run(work, ["skopeo", "copy", "-q", "--dest-tls-verify=false", layout, f"docker://{source}"])
        if program == "carafe":
            insecure = [word for image in images for word in ("--insecure-registry", image.split("/")[0])]
            return run(work, [carafe, "copy", "-q", source, target, *insecure])
        docker = [name if name.startswith("oci:") else f"docker://{name}" for name in (source, target)]
        return run(work, ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *docker])
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(work)


def run(home, command):
    environment = {"PATH": os.environ["PATH"], "HOME": tempfile.mkdtemp(dir=home)}
    begin = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while True:
        # Not ru_maxrss: it includes the memory of this script at the time of the fork.
        peak = max(peak, high_water_mark(child.pid))
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.005)
    seconds = time.monotonic() - begin
    if status:
        sys.exit(f"error: failed to run {command}")
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


def make_layout(directory, count, mib):
    """Makes layers of random bytes, which do not compress; returns their total size in bytes."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    for _ in range(count):
        temporary, raw, stored = directory / "layer", hashlib.sha256(), hashlib.sha256()
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
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return sum(layer["size"] for layer in layers)


def descriptor(kind, digest, size):
    return {"mediaType": PREFIX + kind, "digest": "sha256:" + digest, "size": size}


if __name__ == "__main__":
    main()
