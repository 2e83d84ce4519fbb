"""Measures cold reads through a mount over networks that are far or bad, on this machine, and prints one table.

A model file is conveyed from the embedded Hub into the embedded bucket. Then it is mounted, read once from its beginning to its
end, and unmounted, on each of these networks in turn, round after round, every second round in the opposite order:

    near     nothing is injected: what the machine can do
    far      30 ms to the first byte, and 200 MB/s for each connection
    narrow   the same with 100 MB/s for each connection
    clean    what the next one is compared with: as far, without its faults
    faulty   as far, and of the ranges 1 % stall for 10 s, 5 % are ten times slower, 1 % are reset and 1 % end early;
             bursts of 503

The client, the server and the reader share the machine's cores. `of near` and `of clean` are ratios of rates within a round, and
their medians count; so do "extra", what the server sent beyond the file's size, and "connections", the most that the mount had
open at once. Each read is compared with what was conveyed, after its time was taken.

    --rounds N     how often (default 3)
    --size MIB     of the file (default 2048)
    --memory SIZE  of the mount (default: its own)
    --networks A,B only these

Needs root, /dev/fuse and the release programs (PENSTOCK_BINARIES).
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / "Clients")]

import emulated_hub  # noqa: E402
import programs  # noqa: E402
from benchlib import MIB, Connections, tree_cpu_seconds, tree_peak_memory  # noqa: E402

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def rule(action: dict, **more: object) -> dict:
    return {"server": "gcs", "method": "GET", "pathRegex": "model.safetensors.*alt=media", "action": action} | more


def distance(rate: int) -> list:
    return [rule({"latencyMilliseconds": 30, "bytesPerSecond": rate}, times=None)]


def faults(seed: int, ranges: int) -> list:
    """The first rule that strikes counts; those below it count the request as well."""
    far = {"latencyMilliseconds": 30, "bytesPerSecond": 200_000_000}
    shares = [
        (0.005, far | {"stallAt": 0, "stallMilliseconds": 10_000}),
        (0.005, far | {"stallAt": 700_000, "stallMilliseconds": 10_000}),
        (0.05, far | {"bytesPerSecond": 20_000_000}),
        (0.01, far | {"truncateAt": 500_000, "reset": True}),
        (0.01, far | {"truncateAt": 300_000}),
    ]
    bursts = [rule({"status": 503}, nth=max(1, ranges * part // 10), times=8) for part in (2, 5, 8)]
    rules = [
        rule(action, times=None, probability=share, seed=seed + index) for index, (share, action) in enumerate(shares)
    ]
    return bursts + rules + distance(200_000_000)


def networks(seed: int, ranges: int) -> dict:
    far = distance(200_000_000)
    return {
        "near": [],
        "far": far,
        "narrow": distance(100_000_000),
        "clean": far,
        "faulty": faults(seed, ranges),
    }


class Run:
    def __init__(self, rate: float, cpu: float, rss: int, connections: int, requests: int, extra: float):
        self.rate, self.cpu, self.rss = rate, cpu, rss
        self.connections, self.requests, self.extra = connections, requests, extra


def get(hub: emulated_hub.Hub, route: str) -> object:
    with _direct.open(f"{hub.storage}/_emulator/{route}", timeout=30) as reply:
        return json.load(reply)


def checksum(path: pathlib.Path) -> int:
    value = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(4 * MIB):
            value = zlib.crc32(piece, value)
    return value


def load(hub: emulated_hub.Hub, directory: pathlib.Path, rules: list, size: int, crc: int, memory: list) -> Run:
    """One cold read, with the rules in force from the first request for the file's bytes on."""
    hub.post("reset")
    if rules:
        hub.post("faults", rules)
    directory.mkdir(exist_ok=True)
    command = [emulated_hub.binary("penstock"), "mount", "gs://models/bench", str(directory), *memory]
    process = subprocess.Popen(command, env=programs.environment(hub), stdout=subprocess.PIPE)
    if not process.stdout.readline():
        raise SystemExit(f"bench: the mount did not come up (status {process.wait()})")
    try:
        file = directory / "model.safetensors"
        watch = Connections(urllib.parse.urlsplit(hub.storage).port)
        watch.start()
        piece = bytearray(MIB)
        before, begin = tree_cpu_seconds(process.pid), time.monotonic()
        with open(file, "rb", buffering=0) as source:
            count = 0
            while read := source.readinto(piece):
                count += read
        seconds = time.monotonic() - begin
        cpu, connections = tree_cpu_seconds(process.pid) - before, watch.stop()
        # What was broken off is corrected when the server has noticed.
        time.sleep(0.3)
        media = {key: value for key, value in get(hub, "media").items() if key.endswith("/model.safetensors")}
        requests = sum("model.safetensors" in entry["target"] for entry in get(hub, "log")["requests"])
        # From the page cache, or again through the same mount: the bytes that the reader saw.
        if count != size or checksum(file) != crc:
            raise SystemExit("bench: wrong bytes through the mount")
        extra = sum(media.values()) / size - 1
        memory_peak = tree_peak_memory(process.pid) // MIB
        return Run(size / seconds, cpu / (size / (1 << 30)), memory_peak, connections, requests, extra)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def convey(hub: emulated_hub.Hub, model: pathlib.Path, size: int) -> int:
    """A model of one file in the bucket; its checksum."""
    block = os.urandom(MIB)
    with open(model, "wb") as file:
        for index in range(size // MIB):
            file.write(index.to_bytes(8, "little") + block[8:])
    programs.penstock(hub, "snapshot", "--quiet", "acme/bench", "gs://models/bench")
    crc = checksum(model)
    model.unlink()
    return crc


def report(runs: dict) -> None:
    def median(name: str, value) -> float:
        return statistics.median(value(run) for run in runs[name])

    def ratio(name: str, other: str) -> str:
        if other not in runs or name == other:
            return "–"
        return f"{statistics.median(a.rate / b.rate for a, b in zip(runs[name], runs[other])):.2f}"

    print("| network | MB/s | of near | of clean | time of clean | extra | connections | requests | CPU s/GiB | RSS MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, all_of_it in runs.items():
        worth = ratio(name, "clean") if name == "faulty" else "–"
        slower = f"{1 / float(worth):.2f}" if worth != "–" else "–"
        cells = [
            name,
            f"{median(name, lambda run: run.rate) / 1e6:.0f}",
            ratio(name, "near"),
            worth,
            slower,
            f"{median(name, lambda run: run.extra):.2%}",
            f"{max(run.connections for run in all_of_it)}",
            f"{median(name, lambda run: run.requests):.0f}",
            f"{median(name, lambda run: run.cpu):.2f}",
            f"{max(run.rss for run in all_of_it)}",
        ]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--memory")
    parser.add_argument("--networks", default="near,far,narrow,clean,faulty")
    options = parser.parse_args()
    size, names = options.size * MIB, options.networks.split(",")
    memory = ["--memory", options.memory] if options.memory else []
    runs: dict = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as text:
        scratch = pathlib.Path(text)
        model = scratch / "hub" / "models" / "acme" / "bench" / "model.safetensors"
        model.parent.mkdir(parents=True)
        with emulated_hub.serving(scratch / "hub", scratch, "--bucket", "models") as hub:
            crc = convey(hub, model, size)
            for turn in range(options.rounds):
                rules = networks(1000 * turn + 7, size // (8 * MIB))
                for name in names if turn % 2 == 0 else reversed(names):
                    run = load(hub, scratch / "mnt", rules[name], size, crc, memory)
                    runs[name].append(run)
                    print(f"round {turn + 1}, {name}: {run.rate / 1e6:.0f} MB/s, {run.extra:.2%} extra", file=sys.stderr)
    report(runs)


if __name__ == "__main__":
    main()
